"""When things happen in a history: a given number of moments over a time span, dense in the evenings. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sources.generator.clientele import hour_weights

HOUR = timedelta(hours=1)


def moments(start: datetime, span: timedelta, count: int) -> Iterator[datetime]:
    """`count` ascending times in [start, start + span), spread as the shop's visits are over the hours of a day.

    Within an hour they are evenly spaced.
    """
    weights = hour_weights()
    slices = list(_hours(start, start + span))
    whole = sum(weights[begin.hour] * (length / HOUR) for begin, length in slices)
    told, until = 0, 0.0
    for begin, length in slices:
        before, until = until, until + weights[begin.hour] * (length / HOUR) / whole * count
        while told < count and told + 0.5 < until:
            yield begin + length * ((told + 0.5 - before) / (until - before))
            told += 1
    # what rounding left over
    while told < count:
        yield start + span - timedelta(microseconds=1)
        told += 1


def _hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, timedelta]]:
    begin = start
    while begin < end:
        following = min(begin.replace(minute=0, second=0, microsecond=0) + HOUR, end)
        yield begin, following - begin
        begin = following

"""A query string as a question to a metric. Pure: "now" is the newest event time, handed in.

Every parameter is known beforehand from the metric's declaration; any other is refused, naming what is allowed.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.metric import Active, AnyMetric
from schemas.times import parse_rfc3339
from schemas.validate import micros
from serving.api.problems import Problem, bad_query
from serving.read import MetricQuery
from serving.read.query import SECONDS, dimensions_of, figures_of, grains_of

DEFAULT_BUCKETS = {"minute": 60, "hour": 48, "day": 30}
ROWS_AT_MOST = 100_000
TOP_AT_MOST = 1_000
ROWS = ("grain", "from", "to", "by", "order", "limit")
TOP = ("grain", "from", "to", "by", "order", "n")
SECOND = 1_000_000
YEARS = range(1971, 2200)

Parameters = Mapping[str, list[str]]


@dataclass(frozen=True)
class Asked:
    """A question as it was asked: `start` and `end` (µs) are None where the default range is meant."""

    metric: AnyMetric
    grain: str
    start: int | None
    end: int | None
    by: tuple[str, ...]
    where: Mapping[str, frozenset[str | None]]
    order: str | None
    limit: int

    @property
    def needs_newest(self) -> bool:
        return self.grain != "all" and self.end is None

    def query(self, newest: int, zone: ZoneInfo) -> MetricQuery | None:
        """The question over whole buckets. `newest` is the newest event time (µs); None: there is none to count from.

        Raises QueryError.
        """
        start, end = 0, 0
        if self.grain != "all":
            if self.needs_newest and not newest and self.start is None:
                return None
            end = self.end if self.end is not None else newest + 1
            end = max(end, self.start + 1) if self.end is None and self.start is not None else end
            start = self.start if self.start is not None else _before(end, self.grain, zone)
            start, end = _floor(start, self.grain, zone), _ceiling(end, self.grain, zone)
        return MetricQuery(self.metric, self.grain, start, end, self.by, self.where, self.order, self.limit)


def parse_rows(metric: AnyMetric, pairs: Iterable[tuple[str, str]], zone: ZoneInfo) -> Asked:
    """The question of GET /v1/metrics/{name}. Raises Problem."""
    given = _given(metric, pairs, ROWS)
    grain = _one(given, "grain") or ("all" if isinstance(metric, Active) else "hour")
    return _asked(metric, given, zone, grain, _one(given, "order"), _number(given, "limit", 0, ROWS_AT_MOST))


def parse_top(metric: AnyMetric, pairs: Iterable[tuple[str, str]], zone: ZoneInfo) -> Asked:
    """The question of GET /v1/metrics/{name}/top. Raises Problem."""
    given = _given(metric, pairs, TOP)
    if "by" not in given:
        dimensions = dimensions_of(metric)
        has = f"one of {', '.join(dimensions)}" if dimensions else f"metric {metric.name} has no dimensions"
        raise _wrong("by", f"expected a dimension to rank by: {has}")
    order = _one(given, "order") or metric.measures[0].name
    return _asked(
        metric, given, zone, _one(given, "grain") or "all", order, _number(given, "n", 10, TOP_AT_MOST)
    )


def _asked(
    metric: AnyMetric, given: Parameters, zone: ZoneInfo, grain: str, order: str | None, limit: int
) -> Asked:
    if grain not in grains_of(metric):
        raise _wrong("grain", f"expected one of {', '.join(grains_of(metric))}; saw {_shown(grain)}")
    by = tuple(name for text in given.get("by", ()) for name in text.split(",") if name)
    for name in by:
        if name not in dimensions_of(metric):
            known = ", ".join(dimensions_of(metric)) or "none"
            raise _wrong("by", f"the dimensions of {metric.name}: {known}; saw {_shown(name)}")
    if len(set(by)) < len(by):
        raise _wrong("by", "expected each dimension once")
    if order is not None and order not in figures_of(metric):
        raise _wrong("order", f"expected one of {', '.join(figures_of(metric))}; saw {_shown(order)}")
    where = {
        # An empty value stands for null, which is what such a row shows.
        name: frozenset(value or None for value in values)
        for name, values in given.items()
        if name in dimensions_of(metric)
    }
    ranged = [name for name in ("from", "to") if name in given]
    if grain == "all" and ranged:
        raise _wrong(ranged[0], "grain `all` is everything since the beginning and takes no range")
    start, end = _time(given, "from", zone), _time(given, "to", zone)
    if start is not None and end is not None and start >= end:
        raise _wrong("to", "expected an end behind the start")
    return Asked(metric, grain, start, end, by, where, order, limit)


def _given(metric: AnyMetric, pairs: Iterable[tuple[str, str]], allowed: tuple[str, ...]) -> Parameters:
    known = (*allowed, *dimensions_of(metric))
    given: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        if name not in known:
            raise _wrong(_shown(name), f"expected one of {', '.join(known)}")
        given[name].append(value)
    return given


def _one(given: Parameters, name: str) -> str | None:
    values = given.get(name)
    if not values:
        return None
    if len(values) > 1:
        raise _wrong(name, f"expected it once; saw it {len(values)} times")
    return values[0]


def _number(given: Parameters, name: str, default: int, most: int) -> int:
    text = _one(given, name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= most:
        raise _wrong(name, f"expected a whole number from 1 to {most:,}; saw {_shown(text)}")
    return int(text)


def _time(given: Parameters, name: str, zone: ZoneInfo) -> int | None:
    """µs since 1970 of a time, or of the start of a day in the shop's time zone."""
    text = _one(given, name)
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            day = date.fromisoformat(text)
            at = datetime(day.year, day.month, day.day, tzinfo=zone)
        else:
            # A + of a time zone arrives as a space from who forgot to encode it.
            at = parse_rfc3339(re.sub(r" (?=\d\d:\d\d$)", "+", text))
        if at.year not in YEARS:
            raise ValueError
    except (ValueError, OverflowError):
        raise _wrong(
            name,
            "expected a time with its zone, such as 2026-05-17T09:30:00Z, or a day, such as 2026-05-17, of the "
            f"years {YEARS.start} to {YEARS.stop - 1}; saw {_shown(text)}",
        ) from None
    return micros(at)


def _floor(at: int, grain: str, zone: ZoneInfo) -> int:
    """Start (s) of the bucket that holds a time (µs)."""
    seconds = at // SECOND
    if grain != "day":
        return seconds - seconds % SECONDS[grain]
    return _midnight(_day(at, zone), zone)


def _ceiling(at: int, grain: str, zone: ZoneInfo) -> int:
    """End (s) of the last bucket that begins before a time (µs)."""
    start = _floor(at - 1, grain, zone)
    if grain != "day":
        return start + SECONDS[grain]
    return _midnight(_day(at - 1, zone) + timedelta(days=1), zone)


def _before(end: int, grain: str, zone: ZoneInfo) -> int:
    """Start (µs) of the default number of buckets that end with the one before `end` (µs)."""
    if grain != "day":
        start = _floor(end - 1, grain, zone) - (DEFAULT_BUCKETS[grain] - 1) * SECONDS[grain]
    else:
        start = _midnight(_day(end - 1, zone) - timedelta(days=DEFAULT_BUCKETS["day"] - 1), zone)
    return start * SECOND


def _day(at: int, zone: ZoneInfo) -> datetime:
    local = datetime.fromtimestamp(at // SECOND, zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)


def _midnight(day: datetime, zone: ZoneInfo) -> int:
    return int(day.replace(tzinfo=zone).timestamp())


def _wrong(name: str, reason: str) -> Problem:
    return bad_query(f"{name}: {reason}", [{"parameter": name, "reason": reason}])


def _shown(text: str) -> str:
    """What a client sent, short and fit to be sent back."""
    return repr(text.encode("utf-8", "replace").decode()[:60])

"""A query string as a question to a metric. Pure: "now" is the newest event time, handed in.

Every parameter is known beforehand from the metric's declaration; any other is refused, naming what is allowed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.metric import Active, AnyMetric
from serving.api.query_string import Parameters, moment, one, shown, whole_number, wrong
from serving.read import MetricQuery
from serving.read.query import SECONDS, dimensions_of, figures_of, grains_of

DEFAULT_BUCKETS = {"minute": 60, "hour": 48, "day": 30}
ROWS_AT_MOST = 100_000
TOP_AT_MOST = 1_000
ROWS = ("grain", "from", "to", "by", "order", "limit")
TOP = ("grain", "from", "to", "by", "order", "n")
SECOND = 1_000_000


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
    grain = one(given, "grain")
    if grain is None:
        grain = "all" if isinstance(metric, Active) else "hour"
    return _asked(
        metric, given, zone, grain, one(given, "order"), whole_number(given, "limit", 0, ROWS_AT_MOST)
    )


def parse_top(metric: AnyMetric, pairs: Iterable[tuple[str, str]], zone: ZoneInfo) -> Asked:
    """The question of GET /v1/metrics/{name}/top. Raises Problem."""
    given = _given(metric, pairs, TOP)
    if "by" not in given:
        dimensions = dimensions_of(metric)
        has = f"one of {', '.join(dimensions)}" if dimensions else f"metric {metric.name} has no dimensions"
        raise wrong("by", f"expected a dimension to rank by: {has}")
    order, grain = one(given, "order"), one(given, "grain")
    return _asked(
        metric,
        given,
        zone,
        "all" if grain is None else grain,
        metric.measures[0].name if order is None else order,
        whole_number(given, "n", 10, TOP_AT_MOST),
    )


def _asked(
    metric: AnyMetric, given: Parameters, zone: ZoneInfo, grain: str, order: str | None, limit: int
) -> Asked:
    if grain not in grains_of(metric):
        raise wrong("grain", f"expected one of {', '.join(grains_of(metric))}; saw {shown(grain)}")
    by = tuple(name for text in given.get("by", ()) for name in text.split(","))
    for name in by:
        if name not in dimensions_of(metric):
            known = ", ".join(dimensions_of(metric)) or "none"
            raise wrong("by", f"the dimensions of {metric.name}: {known}; saw {shown(name)}")
    if len(set(by)) < len(by):
        raise wrong("by", "expected each dimension once")
    if order is not None and order not in figures_of(metric):
        raise wrong("order", f"expected one of {', '.join(figures_of(metric))}; saw {shown(order)}")
    where = {
        # An empty value stands for null, which is what such a row shows.
        name: frozenset(value or None for value in values)
        for name, values in given.items()
        if name in dimensions_of(metric)
    }
    ranged = [name for name in ("from", "to") if name in given]
    if grain == "all" and ranged:
        raise wrong(ranged[0], "grain `all` is everything since the beginning and takes no range")
    start, end = moment(given, "from", zone), moment(given, "to", zone)
    if start is not None and end is not None and start >= end:
        raise wrong("to", "expected an end behind the start")
    return Asked(metric, grain, start, end, by, where, order, limit)


def _given(metric: AnyMetric, pairs: Iterable[tuple[str, str]], allowed: tuple[str, ...]) -> Parameters:
    known = (*allowed, *dimensions_of(metric))
    given: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        if name not in known:
            raise wrong(shown(name), f"expected one of {', '.join(known)}")
        given[name].append(value)
    return given


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

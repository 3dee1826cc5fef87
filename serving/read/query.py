"""A question to a metric, which buckets answer it, and the answer's rows. Pure; all of it follows from the declaration.

Amounts of money leave as strings with two decimals, counts as integers, ratios as numbers; floats never hold money.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from schemas.errors import DataflowError, Terminal
from schemas.expression import compile_expression
from schemas.metric import GRAINS, Active, AnyMetric, Derived
from schemas.metrics import DIMENSIONS
from serving.fold.plan import day_of
from serving.store.keys import decode_field

MAX_BUCKETS = 2_000
SECONDS = {"minute": 60, "hour": 3600}
RATIO_DIGITS = 6
UNKNOWN = "unknown"

# Attributes of an entity by its id, per dimension name.
Attributes = Mapping[str, Mapping[str, Sequence[Any]]]


class QueryError(DataflowError, Terminal):
    """A question that the metric cannot answer; the message says what it can."""


@dataclass(frozen=True)
class MetricQuery:
    """Rows of `metric` per bucket of `grain` in [start, end) (seconds since 1970) and per value of `by`.

    `where` keeps the rows whose dimension has one of the values. `order` names a measure or derived figure (largest
    first), else rows come by bucket and dimensions; `limit` 0 means all.
    """

    metric: AnyMetric
    grain: str = "all"
    start: int = 0
    end: int = 0
    by: tuple[str, ...] = ()
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    order: str | None = None
    limit: int = 0

    def __post_init__(self) -> None:
        known = dimensions_of(self.metric)
        grains = grains_of(self.metric)
        if self.grain not in grains:
            raise QueryError(
                f"metric {self.metric.name} has the grains {', '.join(grains)}; saw {self.grain!r}"
            )
        for name in (*self.by, *self.where):
            if name not in known:
                has = f"has the dimensions {', '.join(known)}" if known else "has no dimensions"
                raise QueryError(f"metric {self.metric.name} {has}; saw {name!r}")
        if self.order is not None and self.order not in figures_of(self.metric):
            raise QueryError(
                f"metric {self.metric.name} has the figures {', '.join(figures_of(self.metric))}; saw {self.order!r}"
            )
        if self.grain != "all" and self.start >= self.end:
            raise QueryError("expected a range whose start is before its end")

    def buckets(self, zone: ZoneInfo) -> list[int]:
        """The starts of the buckets that the question needs. Raises QueryError for more than MAX_BUCKETS."""
        if self.grain == "all":
            return [0]
        if self.grain == "day":
            found = days(self.start, self.end, zone)
        else:
            step = SECONDS[self.grain]
            found = range(self.start - self.start % step, self.end, step)
        if len(found) > MAX_BUCKETS:
            raise QueryError(
                f"the range holds {len(found):,} buckets of grain {self.grain}, at most {MAX_BUCKETS:,} are read "
                "at once: ask for a shorter range or a coarser grain"
            )
        return list(found)


def dimensions_of(metric: AnyMetric) -> tuple[str, ...]:
    """What a metric can be split and filtered by, roll-ups included."""
    return (*getattr(metric, "by", ()), *(rollup.name for rollup in getattr(metric, "rollups", ())))


def figures_of(metric: AnyMetric) -> dict[str, str]:
    """Name → unit of every measure and derived figure."""
    return {m.name: m.unit for m in (*metric.measures, *getattr(metric, "derived", ()))}


def grains_of(metric: AnyMetric) -> tuple[str, ...]:
    """A count of what is active now has no buckets."""
    return ("all",) if isinstance(metric, Active) else GRAINS


def days(start: int, end: int, zone: ZoneInfo) -> list[int]:
    """Starts of the local days that [start, end) touches."""
    day = datetime.fromtimestamp(day_of(start, zone), zone).replace(tzinfo=None)
    found = []
    # Counted on the calendar: a day in a zone with summer time may have 23 or 25 hours.
    while (at := int(day.replace(tzinfo=zone).timestamp())) < end and len(found) <= MAX_BUCKETS:
        found.append(at)
        day += timedelta(days=1)
    return found


def evaluate(
    query: MetricQuery, buckets: Iterable[tuple[int, Mapping[str, int]]], attributes: Attributes
) -> list[dict[str, Any]]:
    """The rows of an answer from the buckets' hashes (start → field → integer) and the dimensions' attributes."""
    metric = query.metric
    by = getattr(metric, "by", ())
    position = {name: n for n, name in enumerate(by)}
    lookups = {r.name: (position[r.through], r) for r in getattr(metric, "rollups", ())}

    def value_of(name: str) -> Callable[[Sequence[str | None]], str | None]:
        if name in position:
            return itemgetter(position[name])
        at, rollup = lookups[name]
        rows = attributes.get(rollup.dimension, {})
        return lambda dimensions: rolled_up(rollup.name, rows.get(dimensions[at] or ""), rollup.dimension)

    wanted = [(value_of(name), allowed) for name, allowed in query.where.items()]
    parts = [value_of(name) for name in query.by]
    sums: dict[tuple[Any, ...], defaultdict[str, int]] = {}
    for start, fields in buckets:
        for text, amount in fields.items():
            dimensions, measure = decode_field(text)
            if wanted and any(value(dimensions) not in allowed for value, allowed in wanted):
                continue
            key = (start, *[part(dimensions) for part in parts])
            if (row := sums.get(key)) is None:
                row = sums[key] = defaultdict(int)
            row[measure] += amount
    rows = [(key, row) for key, row in sums.items() if any(row.values())]
    rows.sort(key=lambda each: [(part is None, part) for part in each[0]])
    if query.order is not None:
        measured = any(measure.name == query.order for measure in metric.measures)
        rows.sort(
            key=lambda each: (
                each[1].get(query.order, 0) if measured else _ordering(metric, query.order, each[1])
            ),
            reverse=True,
        )
    if query.limit:
        rows = rows[: query.limit]
    return [
        {
            **({} if query.grain == "all" else {"start": iso(key[0])}),
            **dict(zip(query.by, key[1:], strict=True)),
            **figures(metric, row),
        }
        for key, row in rows
    ]


def rolled_up(attribute: str, found: Sequence[Any] | None, dimension: str) -> str:
    """The attribute of a dimension's current row; `unknown` where there is no row."""
    from_row = None if found is None else found[DIMENSIONS[dimension].attributes.index(attribute)]
    return UNKNOWN if from_row is None else str(from_row)


def figures(metric: AnyMetric, row: Mapping[str, int]) -> dict[str, Any]:
    """All measures and derived figures of one row of integers, as they leave the house."""
    sums = {measure.name: row.get(measure.name, 0) for measure in metric.measures}
    found: dict[str, Any] = {
        measure.name: money(sums[measure.name]) if measure.unit == "money" else sums[measure.name]
        for measure in metric.measures
    }
    for derived in getattr(metric, "derived", ()):
        exact = compute(metric, derived, sums)
        if exact is None:
            found[derived.name] = None
        elif derived.unit == "money":
            found[derived.name] = f"{exact:.2f}"
        else:
            found[derived.name] = int(exact) if derived.unit == "count" else float(exact)
    return found


def compute(metric: AnyMetric, derived: Derived, sums: Mapping[str, int]) -> Decimal | None:
    """A derived figure, half-even to 2 decimals (ratios to 6); None where it divides by 0."""
    numerator, denominator = _compiled(
        metric.name, derived.expression, tuple((m.name, m.unit) for m in metric.measures)
    )
    digits = RATIO_DIGITS if derived.unit == "ratio" else 2 if derived.unit == "money" else 0
    top, scale = numerator
    exact = Decimal(top(sums)).scaleb(-scale)
    if denominator is not None:
        bottom, scale = denominator
        divisor = Decimal(bottom(sums)).scaleb(-scale)
        if divisor == 0:
            return None
        exact /= divisor
    return exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)


@cache
def _compiled(_: str, expression: str, units: tuple[tuple[str, str], ...]):
    scales = {name: 2 if unit == "money" else 0 for name, unit in units}
    top, slash, bottom = expression.partition("/")
    return compile_expression(top, scales), compile_expression(bottom, scales) if slash else None


def _ordering(metric: AnyMetric, name: str, row: Mapping[str, int]) -> Decimal:
    for derived in getattr(metric, "derived", ()):
        if derived.name == name:
            found = compute(metric, derived, {m.name: row.get(m.name, 0) for m in metric.measures})
            return Decimal("-Infinity") if found is None else found
    raise QueryError(f"metric {metric.name} derives no {name!r}")


def money(minor: int) -> str:
    """An amount in minor units as text with two decimals."""
    return f"{Decimal(minor).scaleb(-2):.2f}"


def iso(seconds: int) -> str:
    """A UTC time as RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

"""A metric's rows in all buckets that there are, asked in as few questions as a reader takes. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo

from dataflow.testing.pipeline import Where
from schemas.metric import AnyMetric
from schemas.metrics import METRICS
from serving.read import MetricQuery
from serving.read.query import MAX_BUCKETS, SECONDS, days
from serving.store.keys import Keys


def metric_called(name: str, metrics: Mapping[str, AnyMetric] = METRICS) -> AnyMetric:
    """The declaration of a metric. KeyError that says which there are."""
    if name not in metrics:
        raise KeyError(f"expected a metric that is declared ({', '.join(metrics)}), saw {name!r}")
    return metrics[name]


def bucket_prefix(keys: Keys, metric: AnyMetric, grain: str) -> str:
    """What the keys of all buckets of a grain begin with; their starts follow."""
    return keys.bucket(metric.name, grain, 0)[:-1]


def questions(
    metric: AnyMetric,
    grain: str,
    by: str | Sequence[str],
    where: Where | None,
    starts: Iterable[int],
    zone: ZoneInfo,
) -> list[MetricQuery]:
    """Queries whose answers, one behind the other, are all rows. `starts` are those of the buckets that there are."""
    by = tuple(name for name in by.split(",") if name) if isinstance(by, str) else tuple(by)
    allowed = {
        name: frozenset((value,) if value is None or isinstance(value, str) else value)
        for name, value in (where or {}).items()
    }
    if grain == "all":
        return [MetricQuery(metric, grain, 0, 0, by, allowed)]
    ranges: list[tuple[int, int]] = []
    for start in sorted(starts):
        if ranges and _buckets(ranges[-1][0], start + 1, grain, zone) <= MAX_BUCKETS:
            ranges[-1] = ranges[-1][0], start + 1
        else:
            ranges.append((start, start + 1))
    return [MetricQuery(metric, grain, start, end, by, allowed) for start, end in ranges]


def _buckets(start: int, end: int, grain: str, zone: ZoneInfo) -> int:
    return len(days(start, end, zone)) if grain == "day" else (end - start) // SECONDS[grain] + 1

"""Which buckets of the live numbers a round looks at: those that changed, and a few of all others in turn."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from replay.verify.layout import BOTH
from replay.verify.metrics import bucket_of
from replay.verify.oracle import Oracle
from schemas.metric import GRAINS, AnyMetric, Funnel, Metric, Verdicts
from schemas.metrics import METRICS
from serving.lake.views import quoted
from serving.read import MetricQuery

MINUTES = 240  # of those that changed, the newest; the others come in turn
VERDICTS_MINUTES = (
    3  # of the records' outcomes: they are counted by the broker's clock, in its newest minutes
)
IN_TURN = 64  # buckets of one metric and grain, each round

Buckets = dict[tuple[str, str], set[int]]


def touched_buckets(oracle: Oracle) -> Buckets:
    """The buckets of what has changed since the oracle was told to forget changes."""
    found: Buckets = {}
    for metric in METRICS.values():
        for minute in _minutes(oracle, metric, changed=True, limit=MINUTES):
            for grain in GRAINS[:-1]:
                found.setdefault((metric.name, grain), set()).add(bucket_of(oracle, grain, minute))
    return found


def all_buckets(oracle: Oracle) -> Buckets:
    """All buckets in which something should be."""
    found: Buckets = {}
    for metric in METRICS.values():
        minutes = _minutes(oracle, metric, changed=False, limit=None)
        for grain in GRAINS[:-1]:
            if starts := {bucket_of(oracle, grain, minute) for minute in minutes}:
                found[metric.name, grain] = starts
    return found


def left_out_of(buckets: Buckets, asked: Iterable[MetricQuery]) -> Buckets:
    """Those that no question is about."""
    ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for query in asked:
        ranges.setdefault((query.metric.name, query.grain), []).append((query.start, query.end))
    found: Buckets = {}
    for at, starts in buckets.items():
        spans = sorted(set(ranges.get(at, ())))
        begins = [start for start, _ in spans]
        ends = list(accumulate((end for _, end in spans), max))
        for start in starts:
            n = bisect_right(begins, start)
            if not n or ends[n - 1] <= start:
                found.setdefault(at, set()).add(start)
    return found


class InTurn:
    """Walks over all buckets that the oracle knows, some each time."""

    def __init__(self) -> None:
        self._walk: Iterator[Buckets] = iter(())

    def next(self, oracle: Oracle) -> Buckets:
        found = next(self._walk, None)
        if found is None:
            self._walk = self._all(oracle)
            found = next(self._walk, {})
        return found

    def _all(self, oracle: Oracle) -> Iterator[Buckets]:
        for at, starts in all_buckets(oracle).items():
            some = sorted(starts)
            for n in range(0, len(some), IN_TURN):
                yield {at: set(some[n : n + IN_TURN])}


def _minutes(oracle: Oracle, metric: AnyMetric, *, changed: bool, limit: int | None) -> list[int]:
    """The minutes (starts in seconds) in which a metric has something, or had before it changed; newest first."""
    if isinstance(metric, Verdicts):
        return _newest(oracle, "minute", "_minutes", VERDICTS_MINUTES if changed else None)
    if not isinstance(metric, Metric | Funnel):
        return []
    source = f"{BOTH}{metric.of}" if changed else metric.of
    if changed and isinstance(metric, Funnel):
        # An event that comes late moves its session from the bucket of another one.
        source = f"(SELECT * FROM {metric.of} SEMI JOIN {source} USING ({metric.key}))"
    minute = f"epoch_us({quoted(metric.at)}) // 60000000 * 60"
    return _newest(oracle, minute, source, limit)


def _newest(oracle: Oracle, minute: str, source: str, limit: int | None) -> list[int]:
    rows = oracle.database.execute(
        f"SELECT DISTINCT {minute} AS m FROM {source} ORDER BY m DESC" + (f" LIMIT {limit}" if limit else "")
    ).fetchall()
    return [found for (found,) in rows]

"""The live numbers as readers are told them, each answer with the offsets that it is a function of.

Reads Redis through the API's own reader, in calls of few buckets: each is of its own moment, and the oracle is taken
from one to the next.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.generations import Generation
from infra.kafka import Offsets
from infra.settings import Settings
from replay.verify.compare import Difference, compare
from replay.verify.metrics import derived_figures, expected_rows
from replay.verify.moved import TAKEN
from replay.verify.oracle import Oracle
from schemas.errors import Unavailable
from schemas.metric import AnyMetric, Verdicts
from schemas.metrics import METRICS
from serving.read import MetricQuery, Reader, Rebuilding
from serving.read.query import SECONDS
from serving.store.keys import Keys

LIVE_NUMBERS = "live "  # before the metric's name and grain, where they are compared
TOGETHER = 64  # buckets in one call
DAY = 86_400

Buckets = Mapping[tuple[str, str], Iterable[int]]  # metric and grain → starts of buckets


@dataclass(frozen=True)
class Seen:
    """What was answered, as of the `offsets`, to one question."""

    offsets: Offsets
    query: MetricQuery
    rows: Sequence[Mapping[str, Any]]


class LiveNumbers:
    """Reads one generation's numbers."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        password = settings.redis_password.get_secret_value() if settings.redis_password else None
        self._redis = Redis(
            host=settings.redis_host,
            port=settings.redis_port,
            db=settings.redis_db,
            password=password,
            socket_timeout=10,
        )
        self._keys = Keys.of(settings, generation.name)
        self._starts = {at: generation.start(*at) for at in generation.partitions()}
        self._reader = Reader(self._redis, self._keys, generation.name, settings.shop_timezone)

    async def close(self) -> None:
        await self._redis.aclose()

    async def buckets(self) -> dict[tuple[str, str], list[int]]:
        """All that there are. Walks over all keys, and holds up nobody."""
        found: dict[tuple[str, str], list[int]] = {}
        async for key in self._redis.scan_iter(match=f"{self._keys.space}m:*", count=1_000):
            metric, grain, start = key.decode().removeprefix(f"{self._keys.space}m:").split(":")
            if metric in METRICS and grain != "all":
                found.setdefault((metric, grain), []).append(int(start))
        return found

    async def ask(self, buckets: Buckets) -> list[Seen]:
        """These buckets, and at last, of one moment, what every metric has in all.

        Raises Rebuilding or Unavailable.
        """
        seen = []
        for (metric, grain), starts in sorted(buckets.items()):
            for start, end in ranges(sorted(starts), grain):
                seen += await self._read([_question(METRICS[metric], grain, start, end)])
        whole = [_question(metric, "all") for metric in METRICS.values()]
        for metric in METRICS.values():
            whole += [MetricQuery(metric, by=(r.name,)) for r in getattr(metric, "rollups", ())]
        return seen + await self._read(whole)

    async def _read(self, queries: Sequence[MetricQuery]) -> list[Seen]:
        answer = await self._reader.read(queries)
        offsets = {**self._starts, **answer.as_of.offsets}
        return [Seen(offsets, query, rows) for query, rows in zip(queries, answer.rows, strict=True)]


async def everything(numbers: LiveNumbers, also: Buckets | None = None) -> tuple[list[Seen], str | None]:
    """All buckets that there are, and those that `also` should be there, and what every metric has in all.

    Or nothing, and why.
    """
    return await _answers(numbers, also or {}, there=True)


async def some_of(numbers: LiveNumbers, buckets: Buckets) -> tuple[list[Seen], str | None]:
    """These buckets, and what every metric has in all; or nothing, and why."""
    return await _answers(numbers, buckets, there=False)


async def _answers(numbers: LiveNumbers, buckets: Buckets, *, there: bool) -> tuple[list[Seen], str | None]:
    try:
        found = {at: set(starts) for at, starts in buckets.items()}
        if there:
            for at, starts in (await numbers.buckets()).items():
                found.setdefault(at, set()).update(starts)
        return await numbers.ask(found), None
    except (Rebuilding, Unavailable, RedisError, OSError) as error:
        return [], str(error)
    finally:
        await numbers.close()


def ranges(starts: Sequence[int], grain: str) -> list[tuple[int, int]]:
    """Ranges of at most TOGETHER buckets that hold all of `starts`, which are in order."""
    step = DAY if grain == "day" else SECONDS[grain]
    found: list[tuple[int, int]] = []
    for start in starts:
        # A day may have 25 hours.
        if found and start - found[-1][0] < (TOGETHER - 1) * step:
            found[-1] = found[-1][0], start + 1
        else:
            found.append((start, start + 1))
    return found


def check_live(oracle: Oracle, seen: Seen) -> Difference:
    """An answer against the oracle, which stands at its offsets."""
    query = seen.query
    metric, settled = query.metric, _settled(query, oracle)
    measures = [measure.name for measure in metric.measures]
    derived = [each.name for each in getattr(metric, "derived", ())]
    actual, expected = [], []
    for row in seen.rows:
        figures = tuple(Decimal(row[name]) for name in measures)
        if any(figures):
            key = _key(query, row, oracle), *(row[name] for name in query.by)
            told = (None if row[name] is None else Decimal(str(row[name])) for name in derived)
            actual.append((*key, *settled(key, figures), *told))
    for key, found in expected_rows(oracle, query).items():
        figures = tuple(map(Decimal, found))
        expected.append((*key, *settled(key, figures), *derived_figures(metric, figures)))
    return compare(
        f"{LIVE_NUMBERS}{metric.name} {query.grain}",
        actual,
        expected,
        ("start", *query.by, *measures, *derived),
        1 + len(query.by),
    )


def _settled(query: MetricQuery, oracle: Oracle) -> Callable[[tuple, tuple], tuple]:
    """The figures of a row as far as the records alone decide them, see `replay.verify.moved`."""
    if not isinstance(query.metric, Verdicts) or not oracle.moved:
        return lambda _, figures: figures
    places = [n for n, measure in enumerate(query.metric.measures) if measure.name in TAKEN]
    at = 1 + query.by.index("topic") if "topic" in query.by else None

    def settled(key: tuple, figures: tuple) -> tuple:
        if at is not None and key[at] not in oracle.moved:
            return figures
        found = [0 if n in places else figure for n, figure in enumerate(figures)]
        found[places[0]] = sum(figures[n] for n in places)
        return tuple(found)

    return settled


def _key(query: MetricQuery, row: Mapping[str, Any], oracle: Oracle) -> Any:
    """The bucket of a row: of days the date."""
    if query.grain == "all":
        return 0
    start = datetime.fromisoformat(row["start"])
    return start.astimezone(oracle.zone).date() if query.grain == "day" else int(start.timestamp())


def _question(metric: AnyMetric, grain: str, start: int = 0, end: int = 0) -> MetricQuery:
    return MetricQuery(metric, grain, start, end, tuple(getattr(metric, "by", ())))

"""The counting half of the live path in this process: verdicts in, a generation's state and its rows out.

The materializer's own admission, fold, writer, store and reader, over a Valkey in memory or a real one, without its
topics and without its loop: who calls says when a run ends. Nothing here decides anything about a number.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from dataflow.testing.letters import letters_in
from dataflow.testing.pipeline import Row, Where
from dataflow.testing.questions import bucket_prefix, metric_called, questions
from dataflow.testing.records import Letter, Record
from dataflow.testing.valkey import MemoryReading, MemoryValkey
from infra.failpoints import Failpoints
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.metric import AnyMetric
from schemas.metrics import DIMENSIONS, METRICS
from serving.fold.fold import Fold
from serving.fold.plan import Plan
from serving.fold.state import Known
from serving.materializer.admission import Admission
from serving.materializer.dead_letters import letter_of
from serving.materializer.founding import found
from serving.materializer.rebuild import Rebuild
from serving.materializer.writer import Writer
from serving.read import Answer, MetricQuery, Reader
from serving.store.keys import Keys
from serving.store.store import Store

GENERATION = "g1"
At = tuple[str, int]
T = TypeVar("T")


class Counting:
    """One generation's state, and what writes and reads it. `metrics` are counted beside the declared ones."""

    def __init__(
        self, settings: Settings, redis: Redis | MemoryValkey, metrics: Iterable[AnyMetric] = ()
    ) -> None:
        self.settings, self.redis = settings, redis
        self.metrics = {**METRICS, **{metric.name: metric for metric in metrics}}
        self.keys = Keys.of(settings, GENERATION)
        self.store = Store(redis, self.keys)
        self.fold = Fold(Plan(self.metrics, DIMENSIONS, settings.shop_timezone), self.keys)
        self.letters = Letters(settings.max_event_bytes)

    # --- writing

    def claim(self, ends: Mapping[At, int], failpoints: Failpoints, remembered: int = 200_000) -> None:
        """Become the writer and go on from what the store holds. `ends` is where the source partitions end."""
        claimed = self.store.claim()
        failpoints.hit("materializer.after_claim")
        starts = dict.fromkeys(ends, 0)
        definition = self.fold.plan.digest(self.settings.max_event_bytes)
        judged = {0: 0}, {0: 0}
        founding = found(claimed, definition, starts, dict(ends), judged, self.keys)
        self.store.commit(claimed.epoch, {}, founding.operations)
        failpoints.hit("materializer.after_founding")
        self._writer = Writer(self.store, self.fold, claimed, self.letters, self.letters, failpoints)
        self._writer.known = Known(remembered)
        # There is no broker here in whose log a gap could be.
        self.admission = Admission(founding.fences, lambda topic, partition, offset, end: end)
        self._rebuild = founding.rebuild

    @property
    def fences(self) -> Mapping[At, int]:
        """The next source offset of each partition."""
        return self.admission.fences

    @property
    def newest(self) -> Mapping[str, int]:
        """The newest event time (µs) that changed something, by topic; "" is of all."""
        return self._writer.newest

    def commit(
        self, run: Sequence[Mapping[str, Any]], letters: Sequence[Record] = (), position: int = 0
    ) -> None:
        """Count a run of admitted verdicts, as they stand on the judged topic, of which `position` comes next."""
        if self.admission.ranges():
            self._writer.commit(run, letters, self.admission, {0: position})
        if self._rebuild and self._rebuild.reached(self.admission.fences):
            self.store.commit(self._writer.epoch, {}, [self._rebuild.ended(self.keys)])
            self._rebuild = Rebuild({}, {})

    # --- reading

    def rows(
        self,
        metric: str | AnyMetric,
        grain: str = "all",
        by: str | Sequence[str] = (),
        where: Where | None = None,
    ) -> list[Row]:
        """See `Numbers.rows`."""
        declared = metric_called(metric, self.metrics) if isinstance(metric, str) else metric
        prefix = bucket_prefix(self.keys, declared, grain)
        starts = [int(key.decode().removeprefix(prefix)) for key in self.redis.scan_iter(match=prefix + "*")]
        asked = questions(declared, grain, by, where, starts, ZoneInfo(self.settings.shop_timezone))
        return [row for rows in self.read(asked).rows for row in rows] if asked else []

    def read(self, queries: Sequence[MetricQuery]) -> Answer:
        """All answers of one moment."""
        return _finished(self._read(queries))

    def dead_letters(self, topic: str | None = None) -> list[Letter]:
        """See `Numbers.dead_letters`."""
        return letters_in(self.letters.written, topic)

    async def _read(self, queries: Sequence[MetricQuery]) -> Answer:
        redis = reading(self.redis, self.settings)
        try:
            return await Reader(redis, self.keys, GENERATION, self.settings.shop_timezone).read(queries)
        finally:
            await redis.aclose()


class Letters:
    """The dead-letter topic in memory; also the look-up of source records, of which conflicts get theirs."""

    def __init__(self, max_bytes: int) -> None:
        self._most = max_bytes
        self.written: list[Record] = []
        self.records: dict[tuple[str, int, int], Record] = {}

    def record(self, topic: str, partition: int, offset: int) -> Record:
        """A source record; one without bytes if only its verdict was handed in."""
        missing = Record(topic, partition, offset, None, None, 0)
        return self.records.get((topic, partition, offset), missing)

    def write(self, letters: Iterable[Record], conflicts: Iterable[Record], reason: str) -> None:
        self.written += letters
        for record in conflicts:
            found = letter_of(record, record.topic(), reason, GENERATION, self._most)
            letter = Record("", record.partition(), -1, found.key(), found.value(), 0, found.headers())
            self.written.append(letter)


def reading(redis: Redis | MemoryValkey, settings: Settings) -> AsyncRedis | MemoryReading:
    """An asynchronous client of the same server."""
    if isinstance(redis, MemoryValkey):
        return MemoryReading(redis)
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    return AsyncRedis(
        host=settings.redis_host,
        port=settings.redis_port,
        db=settings.redis_db,
        password=password,
        retry=None,
    )


def places() -> dict[At, int]:
    """Every topic's one partition, empty."""
    return {(topic, 0): 0 for topic in CONTRACTS}


def _finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result; by a thread of its own where an event loop runs already, as in an asynchronous test."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()

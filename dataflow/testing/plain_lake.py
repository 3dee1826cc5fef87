"""The lake job in plain Python: source topics in, the lake's tables out, as `streams.lake` fills them with Spark.

It works seconds earlier and ends a batch at any offsets. The tables, what a batch makes of them and how they are
written are the job's own; judged is by plain Python, whose hashes of content are others than Spark's: one lake, one of
the two. Reads the source topics and the registry; writes the lake of one generation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import polars as pl
from confluent_kafka import KafkaError, Message, TopicPartition

from dataflow.testing.judge import content
from infra.failpoints import Failpoints
from infra.generation import source_bounds
from infra.generations import Generation
from infra.kafka import Offsets, consumer
from infra.registry import TopicSchemas
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from schemas.tables import silver
from streams.archive import plot
from streams.lake.clone import begin_as_clone
from streams.lake.code import definition, digest
from streams.lake.frames import HEADERS, polars_type
from streams.lake.known import Known
from streams.lake.place import lake_root
from streams.lake.store import LakeStore
from streams.plain_judge import PlainJudge

TIMEOUT = 30.0
# partition, offset, kafka_time (µs), key, value, headers, reasons, content, event (whole)
JudgedRow = tuple[
    int, int, int, bytes | None, bytes | None, Any, list[str], int | None, dict[str, Any] | None
]


class PlainLake:
    """The lake of one generation, and its only driver; a context manager."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self.settings, self.generation = settings, generation
        self.root = lake_root(settings, generation.name)
        self._schemas = TopicSchemas(settings)
        failpoints = Failpoints(settings)
        starts = {at: generation.start(*at) for at in generation.partitions()}
        self._store = LakeStore(self.root, failpoints, starts)
        begin_as_clone(settings, generation, failpoints)
        topics = {topic: identity.topic_id for topic, identity in generation.topics.items()}
        known = {topic: self._schemas.of(topic) for topic in CONTRACTS}
        self.manifest = self._store.open(generation.name, topics, definition(settings), known)
        self._tables = Known(self._store, self.manifest).tables(settings.shop_timezone)
        group = f"{settings.topic_prefix}plain-lake"
        self._reader = consumer(
            settings.kafka_bootstrap_servers, group, **{"enable.partition.eof": True, "fetch.wait.max.ms": 10}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._schemas.close()
        self._store.close()

    def run(self, until: Offsets | None = None) -> None:
        """One batch of all committed records up to before `until` (None: to the ends of the topics)."""
        first, ends = source_bounds(self.settings, self.generation)
        since = {at: self.manifest.until.get(at, self.generation.start(*at)) for at in ends}
        until = {at: max(offset, (until or ends).get(at, offset)) for at, offset in since.items()}
        known = {topic: self._schemas.of(topic) for topic in CONTRACTS}
        judge = PlainJudge(known, self.settings.max_event_bytes)
        judged = {
            topic: judged_frame(topic, [judged_row(judge, topic, each) for each in messages])
            for topic, messages in self._read(since, until, first).items()
        }
        batch = self._tables.fold(self.manifest.number + 1, judged)
        counts, newest = dict(self.manifest.counts), dict(self.manifest.newest)
        for name, number in batch.counts.items():
            counts[name] = counts.get(name, 0) + number
        for topic, at in batch.newest.items():
            newest[topic] = max(at, newest.get(topic, 0))
        coming = replace(
            self.manifest,
            number=self.manifest.number + 1,
            until=until,
            counts=counts,
            schemas={topic: tuple(each.schema_id for each in known[topic]) for topic in CONTRACTS},
            code=digest(),
            newest=newest,
            kafka_time=max([self.manifest.kafka_time, *(f["kafka_time"].max() for f in judged.values())]),
        )
        self.manifest = self._store.write(coming, batch.rows, lambda: self._tables.take_in(batch))

    def _read(self, since: Offsets, until: Offsets, first: Offsets) -> Mapping[str, list[Message]]:
        """The records of each topic that has any, each partition in the order of its offsets."""
        course = plot(self.settings, self.generation, since, first, own=False)
        found: dict[str, list[Message]] = {}
        for (topic, partition), offset in since.items():
            end = min(course.turn[topic, partition], until[topic, partition])
            for message in course.messages(topic, partition, offset, end):
                found.setdefault(topic, []).append(message)
        open_ = {at: course.start[at] for at in since if course.start[at] < until[at]}
        prefix = self.settings.topic_prefix
        self._reader.assign([TopicPartition(prefix + t, p, offset) for (t, p), offset in open_.items()])
        while open_:
            message = self._reader.poll(TIMEOUT)
            if message is None:
                raise Unavailable(f"the broker gives no record of {open_} for {TIMEOUT:.0f} s")
            at = message.topic().removeprefix(prefix), message.partition()
            if message.error() is None and at in open_ and message.offset() < until[at]:
                found.setdefault(at[0], []).append(message)
            elif message.error() is not None and message.error().code() != KafkaError._PARTITION_EOF:
                raise Unavailable(f"topic {message.topic()} cannot be read: {message.error().str()}")
            if at in open_ and message.offset() + (message.error() is None) >= until[at]:
                del open_[at]
        self._reader.unassign()
        return found


def judged_row(judge: PlainJudge, topic: str, message: Message) -> JudgedRow:
    """A record, judged."""
    at = message.timestamp()[1] * 1000
    reasons, event = judge.judge(topic, message.key(), message.value(), at)
    headers = message.headers() and [{"key": key, "value": value} for key, value in message.headers()]
    hashed = None if event is None else content(CONTRACTS[topic], event)
    place = message.partition(), message.offset(), at
    return (*place, message.key(), message.value(), headers, reasons, hashed, event)


def judged_frame(topic: str, rows: Iterable[JudgedRow]) -> pl.DataFrame:
    """Judged records as `streams.lake.reading` gives them."""
    columns = {column.name: column for column in silver(CONTRACTS[topic]).columns}
    event = pl.Struct(
        {
            name: pl.Int64() if field.type == "timestamp" else polars_type(columns[name])
            for name, field in CONTRACTS[topic].fields.items()
        }
    )
    schema = {
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "kafka_time": pl.Int64(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "headers": HEADERS,
        "reasons": pl.List(pl.String()),
        "content": pl.Int64(),
        "event": event,
    }
    return pl.DataFrame(list(rows), schema=schema, orient="row")

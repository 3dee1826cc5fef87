"""Ranges of source topics, judged, as frames: the same judge that the live path calls, over exactly these offsets."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import reduce
from typing import TypeVar

import polars as pl
from pyspark.sql import DataFrame, SparkSession

from infra.generations import Generation
from infra.kafka import Offsets
from infra.registry import RegisteredSchema
from infra.settings import Settings
from schemas.contract import CONTRACTS
from streams.archive import Course
from streams.judge import UNKNOWN_SCHEMA, prepared, whole_event
from streams.lake.analysed import Analysed
from streams.records import from_bronze, from_kafka

COLUMNS = (
    "partition",
    "offset",
    "kafka_time",
    "key",
    "value",
    "headers",
    "reasons",
    "content",
    "event",
)
# Of the session that reads. V1 sources are all but Kafka: as one it makes an object of each record and takes it apart.
CONFIG = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.sources.useV1SourceList": "avro,csv,json,orc,parquet,text",
}
READERS = 2  # topics that are read at the same time
Schemas = Mapping[str, Sequence[RegisteredSchema]]  # those that the registry lists, by topic
Item, Found = TypeVar("Item"), TypeVar("Found")


class Reading:
    """Reads topics of one generation. `schemas` are those that the registry lists under each topic.

    `course` says what is read from bronze.
    """

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        generation: Generation,
        schemas: Schemas,
    ) -> None:
        self._spark, self._settings, self._generation = spark, settings, generation
        self.schemas = schemas
        self._judges: dict[str, tuple[Sequence[RegisteredSchema], Analysed]] = {}
        self.course = Course({}, {}, {})
        self._pool = ThreadPoolExecutor(READERS, "read")

    def close(self) -> None:
        self._pool.shutdown()

    def read(self, since: Offsets, until: Offsets) -> dict[str, pl.DataFrame]:
        """The judged records of each topic that has any from `since` to before `until`."""
        topics = [
            topic
            for topic in self._generation.topics
            if any(until[place] > since[place] for place in until if place[0] == topic)
        ]
        frames = self._pool.map(
            lambda topic: pl.from_arrow(self.judged(topic, since, until).toArrow()), topics
        )
        return dict(zip(topics, frames, strict=True))

    def judged(self, topic: str, since: Offsets, until: Offsets) -> DataFrame:
        """A topic's records, judged."""
        return self._judge(topic).over(self.records(topic, since, until))

    def records(self, topic: str, since: Offsets, until: Offsets) -> DataFrame:
        """The same as they are: what the topics no longer hold from bronze, the rest from Kafka."""
        turn, start = self.course.turn, self.course.start
        below = {at: min(offset, turn.get(at, 0)) for at, offset in until.items()}
        above = {at: max(offset, start.get(at, 0)) for at, offset in since.items()}
        ends = {at: max(offset, above[at]) for at, offset in until.items()}
        parts = []
        if any(below[at] > since[at] for at in below if at[0] == topic):
            parts.append(from_bronze(self._spark, self.course, topic, since, below))
        if not parts or any(ends[at] > above[at] for at in ends if at[0] == topic):
            group = f"{self._settings.dataflow_env}-{self._generation.name}-lake"
            parts.append(from_kafka(self._spark, self._settings, group, topic, above, ends))
        return reduce(DataFrame.unionByName, parts)

    def _judge(self, topic: str) -> Analysed:
        """By the schemas that are known now."""
        known = self.schemas[topic]
        if topic not in self._judges or self._judges[topic][0] != known:
            most = self._settings.max_event_bytes
            made = prepared(self._spark, CONTRACTS[topic], known, most, whole_event, ("headers",))
            self._judges[topic] = known, Analysed(lambda records: made(records).select(*COLUMNS))
        return self._judges[topic][1]


def ahead(of: Callable[[Item], Found], items: Iterable[Item]) -> Iterator[Found]:
    """What `of` gives for each item, one after the other; for the next one it works while the caller uses the last.

    So Spark judges a range while the one before it is folded and written. `of` is never called twice at the same time.
    """
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming: Future[Found] | None = None
        for item in items:
            asked = pool.submit(of, item)
            if coming is not None:
                yield coming.result()
            coming = asked
        if coming is not None:
            yield coming.result()


def undecided(judged: Mapping[str, pl.DataFrame]) -> list[str]:
    """The topics with records of a schema that was not known."""
    unknown = pl.col("reasons").list.contains(UNKNOWN_SCHEMA)
    return [topic for topic, records in judged.items() if records.select(unknown.any()).item()]

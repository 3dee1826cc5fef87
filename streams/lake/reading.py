"""Ranges of source topics, judged, as frames: the same judge that the live path calls, over exactly these offsets."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import polars as pl
from pyspark.sql import SparkSession

from infra.generation import Generation
from infra.kafka import Offsets
from infra.registry import RegisteredSchema
from infra.settings import Settings
from schemas.contract import CONTRACTS
from streams.judge import UNKNOWN_SCHEMA, judge, whole_event

READERS = 2  # topics that are read at the same time


class Reading:
    """Reads topics of one generation. `schemas` are those that the registry lists under each topic."""

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        generation: Generation,
        schemas: Mapping[str, Sequence[RegisteredSchema]],
    ) -> None:
        self._spark, self._settings, self._generation = spark, settings, generation
        self.schemas = schemas
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
        frames = self._pool.map(lambda topic: self._judged(topic, since, until), topics)
        return dict(zip(topics, frames, strict=True))

    def _judged(self, topic: str, since: Offsets, until: Offsets) -> pl.DataFrame:
        name = self._settings.topic_prefix + topic
        group = f"{self._settings.dataflow_env}-{self._generation.name}-lake"
        records = (
            self._spark.read.format("kafka")
            .option("kafka.bootstrap.servers", self._settings.kafka_bootstrap_servers)
            .option("subscribe", name)
            .option("startingOffsets", _offsets(name, topic, since))
            .option("endingOffsets", _offsets(name, topic, until))
            .option("includeHeaders", "true")
            .option("failOnDataLoss", "true")
            .option("kafka.isolation.level", "read_committed")
            # One name for all batches, so that Spark keeps the consumers; nothing is ever committed under it.
            .option("kafka.group.id", group)
            .load()
        )
        judged = judge(
            records,
            CONTRACTS[topic],
            self.schemas[topic],
            self._settings.max_event_bytes,
            whole_event,
            ("headers",),
        )
        columns = (
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
        return pl.from_arrow(judged.select(*columns).toArrow())


def undecided(judged: Mapping[str, pl.DataFrame]) -> list[str]:
    """The topics with records of a schema that was not known."""
    unknown = pl.col("reasons").list.contains(UNKNOWN_SCHEMA)
    return [topic for topic, records in judged.items() if records.select(unknown.any()).item()]


def _offsets(name: str, topic: str, offsets: Offsets) -> str:
    return json.dumps({name: {str(p): offset for (t, p), offset in offsets.items() if t == topic}})

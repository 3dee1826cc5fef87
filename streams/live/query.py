"""The live query: all source topics in one Real-Time Mode query (or, by setting, in micro-batches).

Reads the source topics, writes the generation's judged topic. Stateless, so it may start again
from any offset that is not above what its readers have applied. What the topics no longer hold is judged in the same
way by batch jobs, before the query starts.
"""

import json
from collections.abc import Mapping, Sequence
from functools import reduce

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from infra.generations import Generation
from infra.kafka import Offsets
from infra.registry import RegisteredSchema
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from streams.archive import Course
from streams.judge import canonical_event, judge
from streams.live.outputs import outputs
from streams.records import from_bronze, from_kafka

Schemas = Mapping[str, Sequence[RegisteredSchema]]


EARLIEST = -2  # as an offset, in Spark's notation
SINK = {"kafka.acks": "all", "kafka.linger.ms": "0", "kafka.compression.type": "lz4"}
BATCH_SINK = SINK | {"kafka.linger.ms": "20"}


def source(
    spark: SparkSession, settings: Settings, topic: str, partitions: int, starting: Offsets | None
) -> DataFrame:
    """The records of one source topic that are committed. `starting` counts only where there is no checkpoint yet."""
    name = settings.topic_prefix + topic
    offsets = "earliest"
    if starting is not None:
        # A partition may have been added since `starting` was recorded.
        each = {str(p): starting.get((topic, p), EARLIEST) for p in range(partitions)}
        offsets = json.dumps({name: each})
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)
        .option("subscribe", name)
        .option("startingOffsets", offsets)
        .option("failOnDataLoss", "true")
        .option("kafka.isolation.level", "read_committed")
        .option("includeHeaders", "true")
        .load()
    )


def start(
    spark: SparkSession,
    settings: Settings,
    generation: Generation,
    schemas: Schemas,
    checkpoint: str,
    starting: Offsets | None,
) -> StreamingQuery:
    """Start the query from its checkpoint, or from `starting` (None: the beginning) where there is none."""
    sources = {
        topic: source(spark, settings, topic, identity.partitions, starting)
        for topic, identity in generation.topics.items()
    }
    rows = verdicts(sources, settings, generation, schemas)
    writer = (
        rows.writeStream.format("kafka")
        .queryName(f"{settings.dataflow_env}-{generation.name}-live")
        .option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)
        .options(**SINK)
        .option("checkpointLocation", checkpoint)
        .outputMode("update")
    )
    if settings.live_mode == "realtime":
        return writer.trigger(realTime=f"{settings.live_trigger_seconds} seconds").start()
    return writer.trigger(processingTime="0 seconds").start()


def write_archived(
    spark: SparkSession,
    settings: Settings,
    generation: Generation,
    schemas: Schemas,
    course: Course,
    since: Offsets,
    until: Offsets,
) -> None:
    """Write the verdicts on what bronze has from `since` to before `until`; returns when the broker has them.

    Those of one source partition are written by one task, in the order of their offsets. Raises Unavailable.
    """
    sources = {
        topic: from_bronze(spark, course, topic, since, until)
        .repartition(generation.topics[topic].partitions, "partition")
        .sortWithinPartitions("partition", "offset")
        for topic in _between(generation, since, until)
    }
    _write(sources, settings, generation, schemas, "what bronze has")


def write_range(
    spark: SparkSession,
    settings: Settings,
    generation: Generation,
    schemas: Schemas,
    since: Offsets,
    until: Offsets,
) -> None:
    """The same of what Kafka has: Spark reads a partition by one task, in the order of the offsets."""
    group = f"{settings.dataflow_env}-{generation.name}-live"
    sources = {
        topic: from_kafka(spark, settings, group, topic, since, until)
        for topic in _between(generation, since, until)
    }
    _write(sources, settings, generation, schemas, "what Kafka has")


def _between(generation: Generation, since: Offsets, until: Offsets) -> list[str]:
    """The topics that have offsets between the two."""
    return [
        topic for topic in generation.topics if any(until[at] > since[at] for at in until if at[0] == topic)
    ]


def _write(
    sources: Mapping[str, DataFrame], settings: Settings, generation: Generation, schemas: Schemas, what: str
) -> None:
    if not sources:
        return
    writer = verdicts(sources, settings, generation, schemas).write.format("kafka").options(**BATCH_SINK)
    try:
        writer.option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers).save()
    except (PySparkException, Py4JJavaError) as error:
        raise Unavailable(f"{what} could not be judged: {str(error).splitlines()[0]}") from error


def verdicts(
    sources: Mapping[str, DataFrame], settings: Settings, generation: Generation, schemas: Schemas
) -> DataFrame:
    """What to write to the judged topic for the records of each topic, in the order of a topic's records."""
    judged, limit = generation.judged_topic(settings), settings.max_event_bytes
    rows = []
    for topic, records in sources.items():
        found = judge(records, CONTRACTS[topic], schemas[topic], limit, canonical_event, ("headers",))
        rows.append(outputs(found, topic, judged, generation.name, limit))
    return reduce(DataFrame.unionByName, rows)

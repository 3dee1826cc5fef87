"""The live query: all source topics in one Real-Time Mode query (or, by setting, in micro-batches).

Reads the source topics, writes the generation's judged topic. Stateless, so it may start again
from any offset that is not above what its readers have applied.
"""

import json
from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from infra.generations import Generation
from infra.kafka import Offsets
from infra.registry import RegisteredSchema
from infra.settings import Settings
from schemas.contract import CONTRACTS
from streams.judge import judge
from streams.live.outputs import outputs

Schemas = Mapping[str, Sequence[RegisteredSchema]]


EARLIEST = -2  # as an offset, in Spark's notation


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
    judged = generation.judged_topic(settings)
    limit = settings.max_event_bytes
    rows = reduce(
        DataFrame.unionByName,
        (
            outputs(
                judge(
                    source(spark, settings, topic, identity.partitions, starting),
                    CONTRACTS[topic],
                    schemas[topic],
                    limit,
                ),
                topic,
                judged,
                generation.name,
                limit,
            )
            for topic, identity in generation.topics.items()
        ),
    )
    writer = (
        rows.writeStream.format("kafka")
        .queryName(f"{settings.dataflow_env}-{generation.name}-live")
        .option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)
        .option("kafka.acks", "all")
        .option("kafka.linger.ms", "0")
        .option("kafka.compression.type", "lz4")
        .option("checkpointLocation", checkpoint)
        .outputMode("update")
    )
    if settings.live_mode == "realtime":
        return writer.trigger(realTime=f"{settings.live_trigger_seconds} seconds").start()
    return writer.trigger(processingTime="0 seconds").start()

"""Records of a source topic for Spark, in the columns that `judge` expects: out of bronze, or from Kafka, as a batch.

Which of the two has which offsets is a `Course`. Reads Parquet files of bronze, and source topics.
"""

import json
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from infra.kafka import Offsets
from infra.settings import Settings
from streams.archive import Course
from streams.bronze import Ranges

COLUMNS = ("partition", "offset", "timestamp", "key", "value", "headers")
BRONZE = (
    "partition int, offset bigint, kafka_time timestamp, key binary, value binary, "
    "headers array<struct<key:string,value:binary>>"
)
RECORDS = BRONZE.replace("kafka_time", "timestamp")
# A bracket in a directory's name is no pattern.
NO_GLOBS = {"__globPaths__": "false"}


def from_bronze(spark: SparkSession, course: Course, topic: str, since: Offsets, until: Offsets) -> DataFrame:
    """A topic's records from `since` to before `until` that bronze has, in any order; none at or behind the turn."""
    parts = [spark.createDataFrame([], RECORDS)]
    for bronze, ranges in course.parts(topic, since, until):
        if files := bronze.files(topic, ranges):
            rows = spark.read.schema(BRONZE).options(**NO_GLOBS).parquet(*files).where(_within(ranges))
            parts.append(rows.withColumnRenamed("kafka_time", "timestamp"))
    return reduce(DataFrame.unionByName, parts[1:] or parts)


def from_kafka(
    spark: SparkSession, settings: Settings, group: str, topic: str, since: Offsets, until: Offsets
) -> DataFrame:
    """A topic's committed records from `since` to before `until`, which have to be there. Nothing is committed."""
    name = settings.topic_prefix + topic
    return (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)
        .option("subscribe", name)
        .option("startingOffsets", _offsets(name, topic, since))
        .option("endingOffsets", _offsets(name, topic, until))
        .option("includeHeaders", "true")
        .option("failOnDataLoss", "true")
        .option("kafka.isolation.level", "read_committed")
        # One name for all batches, so that Spark keeps the consumers.
        .option("kafka.group.id", group)
        .load()
        .select(*COLUMNS)
    )


def _within(ranges: Ranges) -> Column:
    return reduce(
        or_,
        (
            (F.col("partition") == partition) & (F.col("offset") >= since) & (F.col("offset") < until)
            for partition, (since, until) in ranges.items()
        ),
    )


def _offsets(name: str, topic: str, offsets: Offsets) -> str:
    return json.dumps({name: {str(p): offset for (t, p), offset in offsets.items() if t == topic}})

"""What the live query writes: a verdict for every record, and before each refusal the refused record whole.

Pure: verdicts of `streams.judge` in, rows for Spark's Kafka sink out (topic, partition, key, value, headers). The
refused record goes through the judged topic, as a record with headers: in one partition, where the verdict is there its
letter is there. Who applies the refusal passes the letter on to the dead letters first. A record whose schema this
query does not know is undecided: the registry may know it by now.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from streams.limits import EXCERPT_BYTES, HEADERS_BYTES, KEY_BYTES, OWN_HEADER
from streams.plain_judge import UNKNOWN_SCHEMA


def outputs(verdicts: DataFrame, topic: str, judged: str, generation: str, max_bytes: int) -> DataFrame:
    """Rows for the Kafka sink, in the verdicts' order: one per record, and one before it per refusal.

    `topic` is the source topic's name without prefix; `judged` is a full name. No output is larger than a broker
    takes: the judge accepts no event whose verdict would be, and of a record larger than `max_bytes`, or a key above
    KEY_BYTES, the beginning is kept, and of headers above HEADERS_BYTES none, which is marked. `verdicts` have the
    source's column `headers`.
    """
    refused = F.size("reasons") > 0
    undecided = F.col("reasons") == F.array(F.lit(UNKNOWN_SCHEMA))
    kind = F.when(undecided, "u").otherwise("r").alias("v")
    stub = F.struct(*_place(topic), kind, F.col("reasons").alias("r"))
    verdict = F.struct(
        *_place(topic),
        F.lit("a").alias("v"),
        F.col("content").alias("h"),
        F.when(F.size("warnings") > 0, F.col("warnings")).alias("w"),
        F.col("event").alias("e"),
    )
    value = F.when(refused, F.to_json(stub)).otherwise(F.to_json(verdict))
    name = F.concat(F.lit(topic + "/"), F.col("partition"), F.lit("/"), F.col("offset"))
    # A refused record's key is not known to be an id; it may hold anything, and stays in the dead letters.
    key = F.when(~refused, F.substring(F.col("key"), 1, KEY_BYTES))
    judged_row = _row(judged, key, value.cast("binary"), None)
    letter_row = _row(
        judged, name.cast("binary"), _excerpt(max_bytes), _headers(topic, generation, max_bytes)
    )
    both = F.array_compact(F.array(F.when(refused, letter_row), judged_row))
    return verdicts.select(F.explode(both).alias("output")).select("output.*")


def _place(topic: str) -> list[Column]:
    return [
        F.lit(topic).alias("t"),
        F.col("partition").alias("p"),
        F.col("offset").alias("o"),
        F.col("kafka_time").alias("ts"),
    ]


def _row(topic: str, key: Column, value: Column, headers: Column | None) -> Column:
    kind = "array<struct<key:string,value:binary>>"
    return F.struct(
        F.lit(topic).alias("topic"),
        F.col("partition").alias("partition"),
        key.alias("key"),
        value.alias("value"),
        (F.lit(None) if headers is None else headers).cast(kind).alias("headers"),
    )


def _excerpt(max_bytes: int) -> Column:
    whole = F.coalesce(F.col("value"), F.lit(b""))
    return F.when(F.col("size") > max_bytes, F.substring(whole, 1, EXCERPT_BYTES)).otherwise(whole)


def _headers(topic: str, generation: str, max_bytes: int) -> Column:
    """The letter's own, then those of the record, which come as names and values or null."""
    own = F.coalesce("headers", F.array())
    size = F.aggregate(
        own,
        F.lit(0),
        lambda total, each: (
            total + F.octet_length(each["key"]) + F.coalesce(F.octet_length(each["value"]), F.lit(0))
        ),
    )
    cut = (
        (F.col("size") > max_bytes)
        | (F.coalesce(F.octet_length("key"), F.lit(0)) > KEY_BYTES)
        | (size > HEADERS_BYTES)
    )
    values = {
        "source_topic": F.lit(topic),
        "source_partition": F.col("partition"),
        "source_offset": F.col("offset"),
        "reasons": F.array_join("reasons", ","),
        "kafka_time": F.col("kafka_time"),
        "generation": F.lit(generation),
        "size": F.col("size"),
        "truncated": cut,
        "null_value": F.col("value").isNull(),
    }
    headers = [
        F.struct(F.lit(name).alias("key"), value.cast("string").cast("binary").alias("value"))
        for name, value in values.items()
    ]
    key = F.struct(F.lit("source_key").alias("key"), F.substring(F.col("key"), 1, KEY_BYTES).alias("value"))
    renamed = F.transform(
        F.when(size <= HEADERS_BYTES, own).otherwise(F.array()),
        lambda each: F.struct(
            F.concat(F.lit(OWN_HEADER), each["key"]).alias("key"), each["value"].alias("value")
        ),
    )
    return F.concat(F.array(*headers, key), renamed)

"""Decode, judge, canonicalise: one pure DataFrame function from a topic's Kafka records to verdicts.

Streams and batches, the live path and replays all call `judge`. It keeps no state and reads no clock. A record is
accepted if its bytes are the canonical Avro encoding of a record under one of the topic's registered schemas, the
contract can hold it, and no `reject` rule is broken; everything else is refused with reasons. `from_avro` alone is not
strict (it lets trailing bytes and oversized decimals through), so every record is encoded again and compared with what
came in.
"""

from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro, to_avro
from sqlglot import exp

from infra.registry import RegisteredSchema
from schemas.contract import Contract, Field
from schemas.expression import parsed
from streams.limits import VERDICT_TOO_LARGE, event_bytes, may_exceed
from streams.plain_judge import UNKNOWN_SCHEMA
from streams.reading import PERMISSIVE, Reading, read_schema

HEADER_BYTES = 5


def canonical_event(contract: Contract) -> list[Column]:
    """What the live path makes of an event: no personal data, money in minor units, times in µs."""
    return [_value(field).alias(name) for name, field in contract.fields.items() if not field.pii]


def whole_event(contract: Contract) -> list[Column]:
    """What the lake makes of an event: every field, money as decimals, times in µs."""
    return [F.col(_safe(name)).alias(name) for name in contract.fields]


def judge(
    records: DataFrame,
    contract: Contract,
    known: Sequence[RegisteredSchema],
    max_bytes: int,
    event: Callable[[Contract], list[Column]] = canonical_event,
    keep: Sequence[str] = (),
) -> DataFrame:
    """One row per record of a Kafka source: where it stands, why it is refused, and its event where it is not.

    `known` are the writer schemas that the registry lists under the topic; `max_bytes` bounds key plus value;
    `event` makes the event out of the decoded columns; `keep` names more columns of the source to pass through.
    Columns out: partition, offset, kafka_time (µs), key, value, size (bytes), what is kept, reasons (array, empty if
    accepted), warnings (array), content (hash of the row, tells a repeat from a conflict), event (struct; null if
    refused).
    """
    return prepared(records.sparkSession, contract, known, max_bytes, event, keep)(records)


def prepared(
    spark: SparkSession,
    contract: Contract,
    known: Sequence[RegisteredSchema],
    max_bytes: int,
    event: Callable[[Contract], list[Column]] = canonical_event,
    keep: Sequence[str] = (),
) -> Callable[[DataFrame], DataFrame]:
    """The same for any number of frames: making its expressions takes thousands of calls into the JVM."""
    readings = [read_schema(spark, contract, schema) for schema in known]
    usable = [reading for reading in readings if reading.usable]
    size = F.coalesce(F.octet_length("value"), F.lit(0)) + F.coalesce(F.octet_length("key"), F.lit(0))
    framed = [
        *("partition", "offset", F.unix_micros("timestamp").alias("kafka_time"), "key", "value"),
        size.alias("size"),
        *keep,
        _framing_reason(readings, size, max_bytes).alias("framing"),
    ]
    originals = {reading.column: _original(reading) for reading in usable}
    decoded, fault = _decode(contract, usable), _fault(contract, usable)
    passed = ("partition", "offset", "kafka_time", "key", "value", "size", *keep)
    fields = [F.col(f"decoded.{name}").alias(_safe(name)) for name in contract.fields]
    ruled = {kind: _broken(contract, kind) for kind in ("reject", "warn")}
    too_large, judged = _too_large(contract, max_bytes), _judged(contract, event)

    def apply(records: DataFrame) -> DataFrame:
        read = records.select(*framed).withColumns(originals).withColumn("decoded", decoded)
        flat = read.withColumn("fault", fault).select(*passed, "fault", *fields)
        return flat.withColumns(ruled).withColumn("too_large", too_large).select(*passed, *judged)

    return apply


def header(schema_id: int) -> bytes:
    """The first five bytes of a record with this schema id."""
    return b"\0" + schema_id.to_bytes(4, "big")


def _safe(name: str) -> str:
    return f"f_{name}"


def _binary(data: bytes) -> Column:
    return F.unhex(F.lit(data.hex()))


def _starts_with(reading: Reading) -> Column:
    return F.substring(F.col("value"), 1, HEADER_BYTES) == _binary(header(reading.schema_id))


def _framing_reason(readings: Sequence[Reading], size: Column, max_bytes: int) -> Column:
    """What is wrong before a byte of Avro is looked at, or null."""
    is_known = is_unusable = F.lit(False)
    for reading in readings:
        is_known = is_known | _starts_with(reading)
        if not reading.usable:
            is_unusable = is_unusable | _starts_with(reading)
    return (
        F.when(F.col("value").isNull(), "null_value")
        .when(F.col("key").isNull(), "null_key")
        .when(size > max_bytes, "too_large")
        .when(F.octet_length("value") < HEADER_BYTES, "too_short")
        .when(F.substring(F.col("value"), 1, 1) != _binary(b"\0"), "wrong_magic_byte")
        .when(~is_known, UNKNOWN_SCHEMA)
        .when(is_unusable, "incompatible_schema")
    )


def _body(reading: Reading) -> Column:
    """The Avro bytes of records with this schema; null for all others."""
    sound = F.col("framing").isNull() & _starts_with(reading)
    return F.when(sound, F.expr(f"substring(value, {HEADER_BYTES + 1})"))


def _original(reading: Reading) -> Column:
    """The record as it was written; null for those of other schemas."""
    body = _body(reading)
    return F.when(body.isNotNull(), from_avro(body, reading.writer, PERMISSIVE))


def _decode(contract: Contract, readings: Sequence[Reading]) -> Column:
    """The record in the contract's shape; null where a value does not fit."""
    decoded = F.lit(None)
    for reading in readings:
        decoded = F.when(F.col(reading.column).isNotNull(), reading.projected(contract)).otherwise(decoded)
    return decoded


def _fault(contract: Contract, readings: Sequence[Reading]) -> Column:
    """Framing, decoding and strictness; null if the bytes are sound and fit the contract."""
    fault = F.when(F.col("framing").isNotNull(), F.col("framing"))
    for reading in readings:
        body, original = _body(reading), F.col(reading.column)
        # PERMISSIVE makes a record of nulls from what it cannot decode, so a null in a required field tells
        undecodable = original[reading.required].isNull()
        again = F.when(~undecodable, to_avro(original, reading.writer))
        same = again.eqNullSafe(body)
        if reading.has_maps:  # entries come in any order
            same = F.octet_length(again).eqNullSafe(F.octet_length(body))
        fault = fault.when(body.isNotNull() & undecodable, "undecodable")
        fault = fault.when(body.isNotNull() & ~same, "not_canonical")
        if (misfit := reading.misfit(contract)) is not None:
            fault = fault.when(body.isNotNull() & misfit, "does_not_fit_contract")
    for name, field in contract.fields.items():
        if field.type == "string":
            fault = fault.when(F.is_valid_utf8(F.col(f"decoded.{name}")) == F.lit(False), "invalid_utf8")
    key = F.col(f"decoded.{contract.key}")
    return fault.when(~F.col("key").eqNullSafe(key.cast("binary")), "key_is_not_entity_id")


def _broken(contract: Contract, severity: str) -> Column:
    """Names of the rules of one severity that a row breaks: those whose expression is false (null passes)."""
    names = [
        F.when(~F.expr(_on_safe_columns(contract, rule.expression)), rule.name)
        for rule in contract.rules
        if rule.severity == severity
    ]
    return F.array_compact(F.array(*names)) if names else F.array().cast("array<string>")


def _on_safe_columns(contract: Contract, expression: str) -> str:
    """The expression with the contract's columns under the names they have in the flat frame."""
    tree = parsed(expression)
    for column in tree.find_all(exp.Column):
        if column.name in contract.fields:
            column.this.set("this", _safe(column.name))
    return tree.sql(dialect="spark")


def _sound() -> Column:
    return F.col("fault").isNull() & (F.size("reject") == 0)


def _too_large(contract: Contract, max_bytes: int) -> Column:
    """Whether the verdict would be."""
    most = event_bytes(max_bytes)
    text = F.to_json(F.struct(*canonical_event(contract)))
    json_bytes = F.when(_sound() & may_exceed(F.col("size"), most), F.octet_length(text))
    return F.coalesce(json_bytes > most, F.lit(False))


def _judged(contract: Contract, event: Callable[[Contract], list[Column]]) -> list[Column]:
    """Reasons, warnings, content and event."""
    accepted = _sound() & ~F.col("too_large")
    reasons = (
        F.when(F.col("fault").isNotNull(), F.array("fault"))
        .when(F.col("too_large"), F.array(F.lit(VERDICT_TOO_LARGE)))
        .otherwise(F.col("reject"))
    )
    return [
        reasons.alias("reasons"),
        F.when(accepted, F.col("warn")).otherwise(F.array().cast("array<string>")).alias("warnings"),
        F.when(accepted, F.xxhash64(*_content(contract))).alias("content"),
        F.when(accepted, F.struct(*event(contract))).alias("event"),
    ]


def _value(field: Field) -> Column:
    column = F.col(_safe(field.name))
    if field.type == "decimal":
        return (column * 10**field.scale).cast("bigint")
    return column


def _content(contract: Contract) -> list[Column]:
    """The row itself and what happened to it, personal data included, but not who says so and when.

    Each value goes in with its name: xxhash64 skips nulls, so that a value could move between two columns. That a null
    leaves nothing keeps the hash of a row the same when the contract gets a column that the row has nothing in.
    """
    names = (*contract.row_fields, "op") if contract.is_change else contract.row_fields
    values = {name: _value(contract.fields[name]).cast("string") for name in names}
    return [
        part for name, value in values.items() for part in (F.when(value.isNotNull(), F.lit(name)), value)
    ]

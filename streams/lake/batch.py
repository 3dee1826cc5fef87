"""One batch: judged records of each topic in, rows to append to each table out, and what becomes of every record.

Pure but for the indexes, which `take_in` moves to the state after the batch once its manifest is written. So a batch
that fails half-way is folded again from the same state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from schemas.contract import CONTRACTS, Contract
from schemas.table import BATCH, CONTENT, GONE
from schemas.tables import QUARANTINE, TABLES, bronze, silver
from streams.lake.change import Change, Part
from streams.lake.frames import frame_schema, polars_type, stored_schema
from streams.lake.gold.totals import Totals
from streams.lake.index import KeyIndex
from streams.lake.outcomes import (
    CHANGED,
    CONFLICT,
    REFUSED,
    REPEAT,
    SUPERSEDED,
    change_outcomes,
    fact_outcomes,
    newest,
)

HEADER_BYTES = 5
MINUTE = 60_000_000  # µs


@dataclass
class Batch:
    """What a batch writes. `counts` are records by `topic/partition/outcome`, of this batch alone."""

    number: int
    rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    newest: dict[str, int] = field(
        default_factory=dict
    )  # topic → newest event time that changed something (µs)
    changed: dict[str, pl.DataFrame] = field(default_factory=dict)  # topic → the new rows of what changed


class Tables:
    """Turns judged records into rows, knowing the latest row of every entity."""

    def __init__(
        self, known: Mapping[str, pl.DataFrame], minutes: Totals, parts: Sequence[Part] = ()
    ) -> None:
        """`known` has each topic's silver rows as the manifest to go on from has them (see `columns_to_know`).

        `minutes` keep `record_outcomes`, `parts` the tables that follow from what changes.
        """
        self._indexes = {
            topic: KeyIndex(_identity(contract), known[topic]) for topic, contract in CONTRACTS.items()
        }
        self._minutes, self._parts = minutes, parts

    def fold(self, number: int, judged: Mapping[str, pl.DataFrame]) -> Batch:
        """The rows of batch `number`. `judged` is what `streams.lake.reading` gives for each topic that has records."""
        batch = Batch(number)
        quarantined, changes, decided = [], {}, []
        for topic, records in judged.items():
            if not records.height:
                continue
            contract = CONTRACTS[topic]
            batch.rows[bronze(contract).name] = _shaped(records, frame_schema(bronze(contract)))
            refused = records.filter(pl.col("reasons").list.len() > 0)
            accepted = _accepted(contract, in_turn(records))
            known = self._indexes[topic].find(accepted)
            outcomes = (change_outcomes if contract.is_change else fact_outcomes)(contract, accepted, known)
            conflicts = outcomes.filter(pl.col("_outcome") == REFUSED).select(
                pl.col("_partition").alias("partition"), pl.col("_offset").alias("offset")
            )
            if conflicts.height:
                in_conflict = records.join(conflicts, on=["partition", "offset"], how="semi")
                refused = pl.concat(
                    [refused, in_conflict.with_columns(pl.lit([CONFLICT]).alias("reasons"))]
                ).sort("partition", "offset")
            if refused.height:
                quarantined.append(
                    _shaped(refused.with_columns(pl.lit(topic).alias("topic")), frame_schema(QUARANTINE))
                )
            rows = _new_rows(contract, outcomes)
            if rows.height:
                batch.changed[topic] = rows
                if "occurred_at" in contract.fields:
                    # Of a version that another one of the batch took the place of, too.
                    changed = outcomes.filter(pl.col("_outcome") == CHANGED)
                    batch.newest[topic] = changed["occurred_at"].dt.epoch("us").max()
                batch.rows[topic] = rows.with_columns(pl.lit(number, pl.Int64).alias(BATCH)).select(
                    *stored_schema(silver(contract))
                )
            if outcomes.height:
                changes[topic] = _change(contract, known, rows, outcomes)
            each = _outcomes(topic, records, outcomes)
            _count(batch.counts, each)
            decided.append(by_minute(each))
        if quarantined:
            batch.rows[QUARANTINE.name] = pl.concat(quarantined)
        for found in (self._minutes.fold(decided), *(part.fold(changes) for part in self._parts)):
            for name, rows in found.items():
                batch.rows[name] = stored(name, number, rows)
        return batch

    def take_in(self, batch: Batch) -> None:
        """The batch is written: from now on it is what was there before."""
        for topic, rows in batch.changed.items():
            self._indexes[topic].put(rows.select(columns_to_know(CONTRACTS[topic])))
        for part in (self._minutes, *self._parts):
            part.take_in()

    def bytes_a_row(self) -> dict[str, float]:
        """Memory that the index of each topic takes for a row; topics without rows are left out."""
        return {topic: index.bytes() / len(index) for topic, index in self._indexes.items() if len(index)}


def in_turn(records: pl.DataFrame) -> pl.DataFrame:
    """Records in the order in which they are taken: a partition's by their offsets, between partitions by broker time.

    A key has records in two partitions if some were added. A clock that was put back must not part a partition's order.
    """
    at = pl.col("kafka_time").cum_max().over("partition").alias("_at")
    ordered = records.sort("partition", "offset").with_columns(at)
    return ordered.sort("_at", maintain_order=True).drop("_at")


def columns_to_know(contract: Contract) -> list[str]:
    """The columns of a silver row that the next batch needs."""
    identity = _identity(contract)
    if not contract.is_change:
        return list(identity)
    return [*(name for name, field in contract.fields.items() if not field.pii), CONTENT, GONE]


def schema_to_know(contract: Contract) -> dict[str, pl.DataType]:
    stored = stored_schema(silver(contract))
    return {name: stored[name] for name in columns_to_know(contract)}


def _new_rows(contract: Contract, outcomes: pl.DataFrame) -> pl.DataFrame:
    """The silver rows of what changed, deleted ones among them."""
    changed = outcomes.filter(pl.col("_outcome") == CHANGED)
    if not contract.is_change:
        return changed
    return newest(contract, changed).with_columns((pl.col("op") == "d").alias(GONE))


def _change(contract: Contract, known: pl.DataFrame, rows: pl.DataFrame, outcomes: pl.DataFrame) -> Change:
    versions = outcomes.filter(pl.col("_outcome").is_in([CHANGED, SUPERSEDED]))
    if not contract.is_change:
        return Change(rows.clear(), rows, versions)
    columns = columns_to_know(contract)
    before = known.join(rows, on=contract.entity_id, how="semi")
    live = ~pl.col(GONE)
    return Change(before.filter(live), rows.filter(live).select(columns), versions)


def stored(name: str, number: int, rows: pl.DataFrame) -> pl.DataFrame:
    """A part's rows as the table's files hold them."""
    table = TABLES[name]
    schema = stored_schema(table)
    if table.is_keyed:
        rows = rows.with_columns(
            pl.lit(number, pl.Int64).alias(BATCH),
            (pl.col(CONTENT) if CONTENT in rows.columns else pl.lit(None)).alias(CONTENT),
        )
    return rows.select(pl.col(column).cast(dtype) for column, dtype in schema.items())


def _identity(contract: Contract) -> tuple[str, ...]:
    return (contract.entity_id,) if contract.is_change else (contract.entity_id, contract.key)


def _shaped(rows: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The declared columns in their types; the schema id is read from the bytes."""
    value = pl.col("value")
    named = pl.when(value.bin.size() >= HEADER_BYTES).then(
        value.bin.slice(1, 4).bin.reinterpret(dtype=pl.Int32, endianness="big")
    )
    return rows.with_columns(named.alias("schema_id")).select(
        pl.col(name).cast(dtype) for name, dtype in schema.items()
    )


def _accepted(contract: Contract, records: pl.DataFrame) -> pl.DataFrame:
    """The events of what the judge accepts, in the columns of the silver table, with place and content."""
    event = pl.col("event").struct
    return records.filter(pl.col("reasons").list.len() == 0).select(
        *(
            event.field(column.name).cast(polars_type(column)).alias(column.name)
            for column in TABLES[contract.topic].columns
            if column.name in contract.fields
        ),
        pl.col("partition").alias("_partition"),
        pl.col("offset").alias("_offset"),
        pl.col("kafka_time").alias("_kafka_time"),
        pl.col("content").alias(CONTENT),
    )


def _outcomes(topic: str, records: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """How many records of a partition and a minute of the broker's became what; every record counts once."""
    by_judge = records.filter(pl.col("reasons").list.len() > 0).select(
        "partition", "kafka_time", pl.lit(REFUSED).alias("outcome")
    )
    decided = outcomes.select(
        pl.col("_partition").alias("partition"),
        pl.col("_kafka_time").alias("kafka_time"),
        pl.col("_outcome").alias("outcome"),
    )
    minute = (pl.col("kafka_time") // MINUTE * MINUTE).alias("minute")
    return (
        pl.concat([by_judge, decided])
        .group_by("partition", minute, "outcome")
        .len("records")
        .with_columns(pl.lit(topic).alias("topic"))
    )


def _count(counts: dict[str, int], outcomes: pl.DataFrame) -> None:
    """Add them up to where the records came from."""
    found = outcomes.group_by("topic", "partition", "outcome").agg(pl.col("records").sum())
    for topic, partition, outcome, number in found.iter_rows():
        counts[f"{topic}/{partition}/{outcome}"] = number


def by_minute(outcomes: pl.DataFrame) -> pl.DataFrame:
    """The same as rows of `record_outcomes`."""
    number = pl.col("records")
    return (
        outcomes.group_by("topic", "minute")
        .agg(
            number.sum(),
            *(
                number.filter(pl.col("outcome") == outcome).sum().alias(outcome)
                for outcome in (CHANGED, REPEAT, SUPERSEDED, REFUSED)
            ),
        )
        .with_columns(pl.from_epoch("minute", "us").dt.replace_time_zone("UTC"))
    )

"""What a batch changes in one topic: the rows before and after, from which every table beyond silver follows. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from schemas.table import GONE, Table
from streams.lake.frames import frame_schema

MONEY = pl.Decimal(28, 2)


@dataclass(frozen=True)
class Change:
    """`after` are the new rows of what changed, `before` the rows that they take the place of; none is a deleted one.

    `versions` are all versions that were accepted, late ones too. Facts are never changed: they have no `before`.
    """

    before: pl.DataFrame
    after: pl.DataFrame
    versions: pl.DataFrame


Changes = Mapping[str, Change]  # by topic; a topic without changes is missing


class Part(Protocol):
    """What keeps some of the tables. Between `fold` and `take_in` nothing of it has happened yet."""

    def fold(self, changes: Changes) -> dict[str, pl.DataFrame]:
        """The rows to write, by table: for a keyed one its columns and whether the key is gone."""

    def take_in(self) -> None:
        """What was folded last is written: it is what was there before from now on."""


def signed(change: Change, columns: Sequence[pl.Expr]) -> pl.DataFrame:
    """`columns` of the new rows with `sign` 1 and of the old ones with `sign` -1."""
    return pl.concat(
        [
            change.after.select(*columns, pl.lit(1, pl.Int64).alias("sign")),
            change.before.select(*columns, pl.lit(-1, pl.Int64).alias("sign")),
        ]
    )


def day_of(column: str, tz: str) -> pl.Expr:
    """The day of a time, in the shop's time zone."""
    return pl.col(column).dt.convert_time_zone(tz).dt.date()


def upserts(table: Table, rows: pl.DataFrame, gone: pl.Expr | None = None) -> pl.DataFrame:
    """`rows` in the table's columns and types, with what tells whether a key is gone (default: it is not)."""
    return rows.select(
        *(pl.col(name).cast(dtype) for name, dtype in frame_schema(table).items()),
        (pl.lit(False) if gone is None else gone).alias(GONE),
    )


def replaced(table: Table, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The rows to write so that those of `before` become those of `after`; both in the table's columns."""
    key = list(table.key)
    names = list(frame_schema(table))
    before, after = (
        frame.select(pl.col(name).cast(dtype) for name, dtype in frame_schema(table).items())
        for frame in (before, after)
    )
    new = after.join(before, on=names, how="anti", nulls_equal=True)
    lost = before.join(after, on=key, how="anti")
    return pl.concat([upserts(table, new), upserts(table, lost, pl.lit(True))])

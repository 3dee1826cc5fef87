"""What a table of the lake is: the vocabulary of `schemas/tables.py` and `schemas/gold.py`. Data only."""

from dataclasses import dataclass
from typing import Literal

Layer = Literal["bronze", "silver", "gold"]
ColumnType = Literal[
    "string", "int", "long", "decimal", "timestamp", "date", "boolean", "binary", "strings", "headers"
]


# What the files of a keyed table hold beside its columns. They have every row that a key ever had, of which that of the
# last batch stands, unless it says that the key is gone. `content` tells a repeat from a conflict.
BATCH, GONE, CONTENT = "_batch", "_deleted", "_content"
# What the Delta schema notes of a column that was added when the table had rows: older files lack it.
ADDED = "dataflow.added"


@dataclass(frozen=True)
class Column:
    """One column. Times are UTC, to the microsecond; `unit` is money, count, ratio, days or empty."""

    name: str
    type: ColumnType
    doc: str
    source: str
    nullable: bool = False
    unit: str = ""
    precision: int = 0
    scale: int = 0
    pii: bool = False


@dataclass(frozen=True)
class Table:
    """A table. Without a `key` rows are only ever added; with one, each key has one row, its newest."""

    name: str
    layer: Layer
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    topic: str | None = None  # of bronze and silver: the source topic

    @property
    def is_keyed(self) -> bool:
        return bool(self.key)

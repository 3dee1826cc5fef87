"""Columns of declared tables as polars and Arrow types, and what the Delta files hold beside the declared columns."""

import polars as pl
import pyarrow as pa

from schemas.table import BATCH, CONTENT, GONE, Column, Table

UTC = pl.Datetime("us", "UTC")
HEADERS = pl.List(pl.Struct({"key": pl.String, "value": pl.Binary}))
_SIMPLE = {
    "string": (pl.String, pa.string()),
    "int": (pl.Int32, pa.int32()),
    "long": (pl.Int64, pa.int64()),
    "timestamp": (UTC, pa.timestamp("us", "UTC")),
    "date": (pl.Date, pa.date32()),
    "boolean": (pl.Boolean, pa.bool_()),
    "binary": (pl.Binary, pa.binary()),
    "strings": (pl.List(pl.String), pa.list_(pa.string())),
    "headers": (
        HEADERS,
        pa.list_(pa.struct([pa.field("key", pa.string()), pa.field("value", pa.binary())])),
    ),
}


def polars_type(column: Column) -> pl.DataType:
    if column.type == "decimal":
        return pl.Decimal(column.precision, column.scale)
    return _SIMPLE[column.type][0]


def frame_schema(table: Table) -> dict[str, pl.DataType]:
    """Name and type of the declared columns."""
    return {column.name: polars_type(column) for column in table.columns}


def stored_schema(table: Table) -> dict[str, pl.DataType]:
    """The same with what the files hold beside them."""
    beside = {BATCH: pl.Int64(), GONE: pl.Boolean(), CONTENT: pl.Int64()} if table.is_keyed else {}
    return frame_schema(table) | beside


def arrow_schema(table: Table) -> pa.Schema:
    """The schema of the Delta table, each column with its meaning as a comment."""
    fields = [
        pa.field(column.name, _arrow_type(column), column.nullable, {"comment": column.doc})
        for column in table.columns
    ]
    if table.is_keyed:
        fields += [
            pa.field(BATCH, pa.int64(), False, {"comment": "Batch that wrote the row; the highest stands."}),
            pa.field(GONE, pa.bool_(), False, {"comment": "The key has no row any more."}),
            pa.field(CONTENT, pa.int64(), True, {"comment": "Hash of the source row's content."}),
        ]
    return pa.schema(fields)


def plain_schema(table: Table) -> pa.Schema:
    """The declared columns alone, times without a zone."""
    types = [_arrow_type(column) for column in table.columns]
    types = [pa.timestamp("us") if pa.types.is_timestamp(each) else each for each in types]
    return pa.schema([pa.field(c.name, t) for c, t in zip(table.columns, types, strict=True)])


def _arrow_type(column: Column) -> pa.DataType:
    if column.type == "decimal":
        return pa.decimal128(column.precision, column.scale)
    return _SIMPLE[column.type][1]

"""The files of a table as DuckDB reads them. Files that are older than a column have nothing in it. Pure.

What a table's Delta log says of its columns decides how; read by the views and by upkeep.
"""

from collections.abc import Iterable, Sequence

from deltalake import DeltaTable

from schemas.table import ADDED, Column, Table

_TYPES = {
    "string": "VARCHAR",
    "int": "INTEGER",
    "long": "BIGINT",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "boolean": "BOOLEAN",
    "binary": "BLOB",
    "strings": "VARCHAR[]",
    "headers": "STRUCT(key VARCHAR, value BLOB)[]",
}


def late_columns(table: Table, files: DeltaTable) -> list[Column]:
    """The declared columns that were added when the table had files, or are not in it yet at this version."""
    stored = {field.name: field.metadata for field in files.schema().fields}
    return [column for column in table.columns if ADDED in stored.get(column.name, {ADDED: ""})]


def source(files: Iterable[str], late: Sequence[Column] = ()) -> str:
    """What stands behind FROM: all rows of the files, by the names of their columns, `late` ones null where missing."""
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    if not late:
        return f"read_parquet([{listed}])"
    # No file at all may have the column yet; to look for a name in all files takes opening each of them.
    typed = ", ".join(f"NULL::{_stored_type(column)} AS {quoted(column.name)}" for column in late)
    rows = f"SELECT * FROM read_parquet([{listed}], union_by_name = true)"
    return f"(SELECT {typed} WHERE false UNION ALL BY NAME {rows})"


def sql_type(column: Column) -> str:
    """The type that a view gives a column."""
    if column.type == "decimal":
        return f"DECIMAL({column.precision},{column.scale})"
    return _TYPES[column.type]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _stored_type(column: Column) -> str:
    # Cast from one without a zone it would take an extension that is not in DuckDB's wheel.
    return "TIMESTAMP WITH TIME ZONE" if column.type == "timestamp" else sql_type(column)

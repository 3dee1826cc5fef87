"""The lake's tables at one manifest, as views of a DuckDB connection: what every reader of the lake goes through.

A view reads the files of the version that the manifest names and no other, so no reader sees half a batch. Of a keyed
table it shows one row a key: that of its newest batch, unless that says that the key is gone.
"""

from collections.abc import Iterable

import duckdb
from deltalake import DeltaTable

from schemas.table import BATCH, GONE
from schemas.tables import TABLES, Column, Table
from streams.lake.manifest import Manifest

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


def connect(
    root: str, manifest: Manifest, tables: Iterable[Table] | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection to an empty database in memory, with a view for each table (default: all)."""
    connection = duckdb.connect()
    for table in TABLES.values() if tables is None else tables:
        if table.name not in manifest.tables:
            continue  # it was declared after this manifest was written
        files = DeltaTable(f"{root}/{table.name}", version=manifest.tables[table.name]).file_uris()
        connection.execute(f"CREATE VIEW {quoted(table.name)} AS {select(table, files)}")
    return connection


def select(table: Table, files: list[str]) -> str:
    """The SELECT that reads a table out of its files."""
    columns = ", ".join(_read(column) for column in table.columns)
    if not files:
        typed = ", ".join(f"NULL::{sql_type(c)} AS {quoted(c.name)}" for c in table.columns)
        return f"SELECT {typed} WHERE false"
    source = "read_parquet([" + ", ".join(_text(file) for file in files) + "])"
    if not table.is_keyed:
        return f"SELECT {columns} FROM {source}"
    key = ", ".join(quoted(name) for name in table.key)
    newest = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {BATCH} DESC) = 1"
    return f"SELECT {columns} FROM (SELECT * FROM {source} {newest}) WHERE NOT {GONE}"


def _read(column: Column) -> str:
    # A time without a zone is UTC here: a zoned one needs an extension that is not in DuckDB's wheel.
    name = quoted(column.name)
    return f"{name}::TIMESTAMP AS {name}" if column.type == "timestamp" else name


def sql_type(column: Column) -> str:
    if column.type == "decimal":
        return f"DECIMAL({column.precision},{column.scale})"
    return _TYPES[column.type]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

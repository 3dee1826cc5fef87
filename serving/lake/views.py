"""The lake at one manifest, as views of a DuckDB connection: what every reader of the lake goes through.

A table is read from the files of the version that the manifest names and no other, so no reader sees half a batch. Of a
keyed table there is one row a key: that of its newest batch, unless that says that the key is gone. The declared views
stand on these tables, so they too are of that manifest.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
from deltalake import DeltaTable

from schemas.table import BATCH, GONE, Column, Table
from schemas.tables import RELATIONS, TABLES
from schemas.view import MACROS, Relation, View
from streams.lake.files import late_columns, quoted, source, sql_type
from streams.lake.manifest import Manifest

# Else DuckDB spills into the current directory: rows as they are, personal data too, where nobody looks after them.
NO_SPILL = {"temp_directory": ""}


def connect(
    root: str,
    manifest: Manifest,
    relations: Iterable[Relation] | None = None,
    config: Mapping[str, Any] | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection to an empty database in memory, with each table and view (default: all), and what views read.

    What the manifest does not know is left out: a table that was declared after it was written, a view that reads one.
    `config` is what DuckDB may take; whoever names no directory for what does not fit into memory has none. No two
    databases can share one: each takes the other's files for its own.
    """
    asked = tuple(RELATIONS.values() if relations is None else relations)
    views = [each for each in asked if isinstance(each, View)]
    tables = {each.name: each for each in asked if isinstance(each, Table)}
    tables |= {name: TABLES[name] for view in views for name in view.reads}
    connection = duckdb.connect(config={**NO_SPILL, **(config or {})})
    for name, table in tables.items():
        if name not in manifest.tables:
            continue
        files = DeltaTable(f"{root}/{name}", version=manifest.tables[name])
        query = select(table, files.file_uris(), late=late_columns(table, files))
        connection.execute(f"CREATE VIEW {quoted(name)} AS {query}")
    if views:
        for signature, body in MACROS.items():
            connection.execute(f"CREATE MACRO {signature} AS {body}")
    for view in views:
        if manifest.tables.keys() >= set(view.reads):
            connection.execute(f"CREATE VIEW {quoted(view.name)} AS {view.sql}")
    return connection


def select(table: Table, files: list[str], only: str = "true", late: Sequence[Column] = ()) -> str:
    """The SELECT that reads a table out of its files, which may lack the `late` columns.

    `only` may leave out keys, but no rows of a key.
    """
    columns = ", ".join(_read(column) for column in table.columns)
    if not files:
        typed = ", ".join(f"NULL::{sql_type(c)} AS {quoted(c.name)}" for c in table.columns)
        return f"SELECT {typed} WHERE false"
    rows = f"{parquet(files, late)} WHERE {only}"
    if not table.is_keyed:
        return f"SELECT {columns} FROM {rows}"
    key = ", ".join(quoted(name) for name in table.key)
    newest = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {BATCH} DESC) = 1"
    return f"SELECT {columns} FROM (SELECT * FROM {rows} {newest}) WHERE NOT {GONE}"


def parquet(files: Iterable[str], late: Sequence[Column] = ()) -> str:
    """What a FROM reads files by; those that lack one of the `late` columns have nothing there."""
    return source(files, late)


def _read(column: Column) -> str:
    # A time without a zone is UTC here: a zoned one needs an extension that is not in DuckDB's wheel.
    name = quoted(column.name)
    return f"{name}::TIMESTAMP AS {name}" if column.type == "timestamp" else name


__all__ = ["connect", "parquet", "quoted", "select", "sql_type"]

"""The lake's silver and gold tables as files, as their readers see them: one row a key, and what is deleted left out.

Reads the lake at one manifest, writes Parquet. Bytes as they came (of the quarantine) stay where they are.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from replay.diff.days import day_of
from replay.diff.index import Column, Relation
from replay.verify.layout import CALENDAR, dated, day_column
from schemas.avsc import CHANGE_FIELDS
from schemas.contract import CONTRACTS
from schemas.table import Column as Declared
from schemas.view import Relation as Asked
from serving.lake.dictionary import identity_of, is_personal
from serving.lake.reader import Lake
from serving.lake.views import quoted, sql_type
from streams.lake.manifest import Manifest

MEMORY, THREADS = "1GB", 2
OPAQUE = ("binary", "headers")
NUMBERS = ("int", "long", "decimal")
# The times that a row without a date belongs to, the first that it has.
TIMES = ("started_at", "valid_from", "occurred_at", "kafka_time")


def bounded(connection: duckdb.DuckDBPyConnection, scratch: Path) -> duckdb.DuckDBPyConnection:
    """The connection, with bounds on its memory: what does not fit goes to `scratch`."""
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    connection.execute(f"SET temp_directory = {literal(scratch)}")
    connection.execute(f"SET threads = {THREADS}")
    connection.execute("SET preserve_insertion_order = false")
    return connection


def write_table(lake: Lake, manifest: Manifest, table: Asked, out: Path, time_zone: str) -> Relation:
    """A table or view in `out`, with the day of each time that something is grouped by. Raises Gone."""
    columns = [column for column in table.columns if column.type not in OPAQUE]
    times = day_times(table)
    selected = [quoted(column.name) for column in columns]
    selected += [f"{day_of(quoted(time), time_zone)} AS {quoted(day_column(time))}" for time in times]
    file = f"table-{table.name}.parquet"
    with lake.open(manifest, table) as connection:
        [rows] = (
            bounded(connection, out)
            .execute(
                f"COPY (SELECT {', '.join(selected)} FROM {quoted(table.name)}) TO {literal(out / file)} "
                "(FORMAT parquet)"
            )
            .fetchone()
        )
    key = identity_of(table)
    described = tuple(described_as(table, column, key) for column in columns)
    return Relation("table", table.name, table.doc, file, rows, key, described, day=_day(table, times))


def day_times(table: Asked) -> list[str]:
    """The times of which the files have the day: what metrics ask for, else what the rows are told by."""
    if table.name == table.topic and (found := dated(CONTRACTS[table.topic])):
        return found
    names = {column.name for column in table.columns}
    return [] if _date(table) else [time for time in TIMES if time in names][:1]


def literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _date(table: Asked) -> str | None:
    return next((column.name for column in table.columns if column.type == "date"), None)


def _day(table: Asked, times: Sequence[str]) -> str | None:
    """Of several times the main one: a metric by another one moves no row to another day."""
    main = CALENDAR.get(table.topic, "created_at")
    first = [time for time in times if time == main] or times
    return _date(table) or (day_column(first[0]) if first else None)


def described_as(table: Asked, column: Declared, key: Sequence[str]) -> Column:
    """A column as a comparison tells it; `key` names a row of the table."""
    # Of silver most numbers have no unit, or one of the user's; a version or a place adds up to nothing.
    silver = table.name == table.topic and column.name not in CHANGE_FIELDS and column.name[0] != "_"
    return Column(
        column.name,
        sql_type(column),
        column.doc,
        column.unit,
        column.source,
        is_personal(column),
        summed=column.type in NUMBERS
        and not is_personal(column)  # the sum of one row is that row
        and column.name not in key
        and (column.unit in ("money", "count") or silver),
    )

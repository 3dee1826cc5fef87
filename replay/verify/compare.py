"""Two sets of rows, compared in both directions. Pure, but for what DuckDB compares."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import duckdb

MOST = 1_000  # rows that differ are kept in each direction, so that a table that is wrong throughout can be told too


@dataclass(frozen=True)
class Difference:
    """How a table's rows differ from those that were computed again; equal if nothing is missing or unexpected.

    `missing` and `unexpected` are at most MOST of the rows that were computed again and are not there, and of those
    that are there and should not be; the numbers say how many there are. `columns` are their names, of which the
    first `named` name a row.
    """

    table: str
    rows: int
    expected: int
    missing: tuple[tuple, ...] = field(repr=False)
    unexpected: tuple[tuple, ...] = field(repr=False)
    columns: tuple[str, ...] = ()
    named: int = 0
    missing_rows: int = 0
    unexpected_rows: int = 0

    @property
    def equal(self) -> bool:
        return not self.missing_rows and not self.unexpected_rows


def compare(
    table: str,
    actual: Iterable[tuple],
    expected: Iterable[tuple],
    columns: Sequence[str] = (),
    named: int = 0,
) -> Difference:
    """Row by row, as multisets."""
    seen, wanted = Counter(actual), Counter(expected)
    missing, unexpected = (sorted(rows.elements(), key=repr) for rows in (wanted - seen, seen - wanted))
    return Difference(
        table,
        seen.total(),
        wanted.total(),
        tuple(missing[:MOST]),
        tuple(unexpected[:MOST]),
        tuple(columns),
        named,
        len(missing),
        len(unexpected),
    )


def compare_relations(
    database: duckdb.DuckDBPyConnection,
    table: str,
    actual: Callable[[str], str],
    expected: str,
    columns: Sequence[str],
    slices: Sequence[str] = ("true",),
) -> Difference:
    """The same of two SELECTs, of which `actual` gives the one for the rows that meet a condition.

    `slices` are conditions of which each row meets one. Only the rows of one slice have to fit into the database's
    memory at once.
    """
    found = Difference(table, 0, 0, (), (), tuple(columns))
    try:
        if len(slices) > 1:
            database.execute(f"CREATE OR REPLACE TEMP TABLE _computed AS {expected}")
            expected = "SELECT * FROM _computed"
        for only in slices:
            database.execute(f"CREATE OR REPLACE TEMP TABLE _actual AS {actual(only)}")
            database.execute(
                f"CREATE OR REPLACE TEMP TABLE _expected AS SELECT * FROM ({expected}) WHERE {only}"
            )
            found = together(found, _compare(database, found))
    finally:
        for name in ("_actual", "_expected", "_computed"):
            database.execute(f"DROP TABLE IF EXISTS {name}")
    return found


def together(one: Difference, other: Difference) -> Difference:
    """Of two parts of the same table."""
    return replace(
        one,
        rows=one.rows + other.rows,
        expected=one.expected + other.expected,
        missing=tuple(sorted(one.missing + other.missing, key=repr)[:MOST]),
        unexpected=tuple(sorted(one.unexpected + other.unexpected, key=repr)[:MOST]),
        missing_rows=one.missing_rows + other.missing_rows,
        unexpected_rows=one.unexpected_rows + other.unexpected_rows,
    )


def _compare(database: duckdb.DuckDBPyConnection, of: Difference) -> Difference:
    """The tables `_actual` and `_expected`."""
    found = []
    for one, other in (("_expected", "_actual"), ("_actual", "_expected")):
        rest = f"SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other}"
        rows = database.execute(f"{rest} LIMIT {MOST + 1}").fetchall()
        number = len(rows)
        if number > MOST:
            number = database.execute(f"SELECT count(*) FROM ({rest})").fetchone()[0]
        found.append((tuple(rows[:MOST]), number))
    sizes = [
        database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("_actual", "_expected")
    ]
    (missing, missing_rows), (unexpected, unexpected_rows) = found
    return Difference(of.table, *sizes, missing, unexpected, of.columns, 0, missing_rows, unexpected_rows)

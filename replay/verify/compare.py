"""Two sets of rows, compared in both directions. Pure, but for what DuckDB compares."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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
    database: duckdb.DuckDBPyConnection, table: str, actual: str, expected: str, columns: Sequence[str]
) -> Difference:
    """The same of two SELECTs."""
    try:
        for name, query in (("_actual", actual), ("_expected", expected)):
            database.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")
        found = []
        for one, other in (("_expected", "_actual"), ("_actual", "_expected")):
            rest = f"SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other}"
            rows = database.execute(f"{rest} LIMIT {MOST + 1}").fetchall()
            number = len(rows)
            if number > MOST:
                number = database.execute(f"SELECT count(*) FROM ({rest})").fetchone()[0]
            found.append((tuple(sorted(rows[:MOST], key=repr)), number))
        sizes = [
            database.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("_actual", "_expected")
        ]
    finally:
        for name in ("_actual", "_expected"):
            database.execute(f"DROP TABLE IF EXISTS {name}")
    (missing, missing_rows), (unexpected, unexpected_rows) = found
    return Difference(table, *sizes, missing, unexpected, tuple(columns), 0, missing_rows, unexpected_rows)

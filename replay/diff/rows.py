"""The rows of a matched relation that differ, in DuckDB: kept in a table of their own, and asked in several ways.

Each side is read from its files; only what differs is kept. What does not fit into memory goes to disk.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Self

import duckdb

from replay.diff.matching import Compared, Match
from replay.diff.values import Change, DayDifference, Example, Tally, Total
from serving.lake.question import MASK, plain

SIDES = ("one", "other")
# Of a row in `differing`: whether it is there on each side.
IS: dict[Change, str] = {
    "changed": "in_one AND in_other",
    "only_one": "in_one AND NOT in_other",
    "only_other": "in_other AND NOT in_one",
}


class Differing:
    """A context manager; the connection is as it was afterwards."""

    def __init__(self, database: duckdb.DuckDBPyConnection, found: Match) -> None:
        self._database, self._match = database, found
        self._keys = [f"k{n}" for n in range(len(found.key))]
        self._columns = [f"c{n}" for n in range(len(found.columns))]
        self._summed = [n for n, column in enumerate(found.columns) if column.summed]

    def __enter__(self) -> Self:
        for side, query in zip(SIDES, (self._match.one, self._match.other), strict=True):
            self._database.execute(f"CREATE OR REPLACE TEMP VIEW {side} AS {query}")
        self._whole = {side: self._sums(side)[0] for side in SIDES}
        unique = not any(map(self._repeats, SIDES))
        self._database.execute(f"CREATE OR REPLACE TEMP TABLE differing AS {self._joined(unique)}")
        return self

    def __exit__(self, *error: object) -> None:
        self._database.execute("DROP TABLE IF EXISTS differing")
        for side in SIDES:
            self._database.execute(f"DROP VIEW IF EXISTS {side}")

    def tally(self) -> Tally:
        counts = ", ".join(f"count(*) FILTER ({IS[change]})" for change in IS)
        changed, only_one, only_other = self._all(f"SELECT {counts} FROM differing")[0]
        return Tally(*(self._whole[side][1] for side in SIDES), only_one, only_other, changed)

    def columns(self) -> tuple[tuple[str, int], ...]:
        """Of the changed rows, how many differ in which column."""
        if not self._columns:
            return ()
        counts = ", ".join(f"count(*) FILTER ({_differs(c)})" for c in self._columns)
        [numbers] = self._all(f"SELECT {counts} FROM differing WHERE {IS['changed']}")
        names = (column.name for column in self._match.columns)
        return tuple((name, number) for name, number in zip(names, numbers, strict=True) if number)

    def totals(self) -> tuple[Total, ...]:
        return self._totals(self._whole["one"], self._whole["other"])

    def days(self) -> tuple[DayDifference, ...]:
        """The days with a difference, in their order; rows without a day at last."""
        counts = ", ".join(f"count(*) FILTER ({IS[change]})" for change in IS)
        # One that moved from a day to another belongs to both.
        moved = f"{IS['changed']} AND day_one IS DISTINCT FROM day_other"
        differing = self._all(
            f"SELECT day, {counts} FROM ("
            "SELECT CASE WHEN in_one THEN day_one ELSE day_other END AS day, in_one, in_other FROM differing "
            f"UNION ALL SELECT day_other, in_one, in_other FROM differing WHERE {moved}) GROUP BY day"
        )
        sums = {side: {row[0]: row for row in self._sums(side, by_day=True)} for side in SIDES}
        found = []
        for day, changed, only_one, only_other in sorted(
            differing, key=lambda row: (row[0] is None, row[0] or date.min)
        ):
            one, other = (sums[side].get(day, self._nothing(day)) for side in SIDES)
            tally = Tally(one[1], other[1], only_one, only_other, changed)
            found.append(DayDifference(day, tally, self._totals(one, other)))
        return tuple(found)

    def examples(self, most: int) -> list[tuple[Example, ...]]:
        """At most so many of each kind, in the order of what names them."""
        return [tuple(self._examples(change, most)) for change in IS]

    # --- reading

    def _examples(self, change: Change, most: int) -> Iterator[Example]:
        match = self._match
        shown = [_shown(key, column) for key, column in zip(self._keys, match.key, strict=True)]
        for side in SIDES:
            shown += [
                _shown(f"{name}_{side}", column)
                for name, column in zip(self._columns, match.columns, strict=True)
            ]
        # Masked values look the same, so it is said apart which differ.
        shown += [_differs(name) for name in self._columns]
        order = [*self._keys, *(f"{name}_{side}" for side in SIDES for name in self._columns)]
        rows = self._all(
            f"SELECT {', '.join(shown) or '0'} FROM differing WHERE {IS[change]} "
            + (f"ORDER BY {', '.join(order)} " if order else "")
            + f"LIMIT {most}"
        )
        width, names = len(self._columns), [column.name for column in match.columns]
        for row in rows:
            values = [plain(value) for value in row]
            key = dict(zip((column.name for column in match.key), values, strict=False))
            at = len(match.key)
            sides = (dict(zip(names, values[n : n + width], strict=True)) for n in (at, at + width))
            one, other = sides
            if change == "changed":
                differing = [
                    name for name, differs in zip(names, values[at + 2 * width :], strict=True) if differs
                ]
                one, other = ({name: side[name] for name in differing} for side in (one, other))
            yield Example(
                change, key, None if change == "only_other" else one, None if change == "only_one" else other
            )

    def _sums(self, side: str, by_day: bool = False) -> list[tuple]:
        """The day (or None), the number of rows, and the sums."""
        figures = ", ".join(["count(*)", *(f"sum(c{n})" for n in self._summed)])
        if by_day:
            return self._all(f"SELECT day, {figures} FROM {side} GROUP BY day")
        return self._all(f"SELECT NULL, {figures} FROM {side}")

    def _nothing(self, day: date | None) -> tuple:
        return (day, 0, *(None for _ in self._summed))

    def _totals(self, one: Sequence[Any], other: Sequence[Any]) -> tuple[Total, ...]:
        return tuple(
            Total(self._match.columns[n].name, self._match.columns[n].unit, _whole(a), _whole(b))
            for n, a, b in zip(self._summed, one[2:], other[2:], strict=True)
        )

    def _all(self, query: str) -> list[tuple]:
        return self._database.execute(query).fetchall()

    # --- matching

    def _repeats(self, side: str) -> bool:
        """Whether what names a row names several."""
        if not self._keys:
            return self._whole[side][1] > 1
        keys = ", ".join(self._keys)
        return bool(self._all(f"SELECT 1 FROM {side} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"))

    def _joined(self, unique: bool) -> str:
        """The rows that are not the same on both sides."""
        one, other = (f"(SELECT *, 1 AS nth FROM {side})" if unique else self._rest(side) for side in SIDES)
        same = " AND ".join(
            ["one.nth = other.nth", *(f"one.{k} IS NOT DISTINCT FROM other.{k}" for k in self._keys)]
        )
        differs = [f"one.{c} IS DISTINCT FROM other.{c}" for c in self._columns]
        selected = [f"coalesce(one.{k}, other.{k}) AS {k}" for k in self._keys]
        for side in SIDES:
            selected += [f"{side}.nth IS NOT NULL AS in_{side}", f"{side}.day AS day_{side}"]
            selected += [f"{side}.{c} AS {c}_{side}" for c in self._columns]
        return (
            f"SELECT {', '.join(selected)} FROM {one} AS one FULL JOIN {other} AS other ON {same} "
            f"WHERE {' OR '.join(['one.nth IS NULL', 'other.nth IS NULL', *differs])}"
        )

    def _rest(self, side: str) -> str:
        """A side without the rows that are the same on the other; `nth` of those that have the same key."""
        names = [*self._keys, *self._columns]
        every, keys = ", ".join(names), ", ".join(self._keys)
        mine, others = (
            f"(SELECT *, row_number() OVER (PARTITION BY {every}) AS copy FROM {each})"
            for each in (side, *(each for each in SIDES if each != side))
        )
        same = " AND ".join(["a.copy = b.copy", *(f"a.{n} IS NOT DISTINCT FROM b.{n}" for n in names)])
        partition = f"PARTITION BY {keys} " if keys else ""
        return (
            f"(SELECT *, row_number() OVER ({partition}ORDER BY {every}) AS nth "
            f"FROM {mine} AS a ANTI JOIN {others} AS b ON {same})"
        )


def _by_day(row: tuple) -> tuple[bool, date]:
    return row[0] is None, row[0] or date.min


def _whole(value: Decimal | int | None) -> Decimal | int:
    """A sum; of what has no decimals as an int."""
    return int(value or 0) if not isinstance(value, Decimal) or not value.as_tuple().exponent else value


def _differs(name: str) -> str:
    return f"{name}_one IS DISTINCT FROM {name}_other"


def _shown(name: str, column: Compared) -> str:
    return f"CASE WHEN {name} IS NOT NULL THEN '{MASK}' END" if column.personal else name

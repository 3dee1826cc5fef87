"""Two relations of one name laid side by side: what of them can be compared, and the SELECTs that give it. Pure.

Columns that only one side has are said and left out. A metric with other dimensions is summed up by those that both
have.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from replay.diff.index import Column, Relation
from replay.diff.values import Declared
from serving.lake.views import parquet, quoted

WHOLE = {"INTEGER": 10, "BIGINT": 19}  # digits
DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
MOST_DIGITS = 38

Days = tuple[date, date]


@dataclass(frozen=True)
class Compared:
    """A column of both sides, by the `type` that holds the values of either.

    `scale`: digits behind the point where that is text, since no decimal holds all values of both.
    """

    name: str
    type: str
    scale: int | None
    unit: str
    personal: bool
    summed: bool


@dataclass(frozen=True)
class Match:
    """`one` and `other` are SELECTs of the key (`k0`, `k1`, …), the other columns (`c0`, …) and the row's `day`."""

    key: tuple[Compared, ...]
    columns: tuple[Compared, ...]
    one: str
    other: str
    by_day: bool
    declared: Declared


def match(one: tuple[Relation, Path], other: tuple[Relation, Path], days: Days | None = None) -> Match:
    """Two relations, each with the directory of its extract; with `days` only their rows."""
    (first, _), (second, _) = one, other
    names = [column.name for column in first.columns if second.column(column.name)]
    key = [name for name in first.key if name in second.key and name in names]
    summed_up = first.kind == "metric" and set(first.key) != set(second.key)
    derived = {c.name for each in (first, second) for c in each.columns if c.derived}
    left = [name for name in names if name not in key and not (summed_up and name in derived)]
    if summed_up:
        # What is a dimension here and a figure there has nothing to be compared with.
        left = [name for name in left if name not in first.key and name not in second.key]
    elif not key and set(first.key) != set(second.key):
        key, left = left, []
    pairs = {name: (first.column(name), second.column(name)) for name in names}
    keys = tuple(_compared(*pairs[name]) for name in key)
    columns = tuple(_compared(*pairs[name]) for name in left)
    by_day = has_days(first, second)
    sides = (_select(*each, keys, columns, by_day, days, summed_up) for each in (one, other))
    not_compared = tuple(name for name in names if summed_up and name in derived)
    return Match(keys, columns, *sides, by_day, _declared(first, second, summed_up, not_compared))


def has_days(one: Relation, other: Relation) -> bool:
    """Whether the rows of both belong to days, and by the same column: by another one equal rows would lie apart."""
    return one.day is not None and one.day == other.day


def _declared(one: Relation, other: Relation, summed_up: bool, not_compared: tuple[str, ...]) -> Declared:
    pairs = [(column, other.column(column.name)) for column in one.columns]
    both = [(a, b) for a, b in pairs if b is not None]
    return Declared(
        only_one=tuple(a.name for a, b in pairs if b is None),
        only_other=tuple(c.name for c in other.columns if one.column(c.name) is None),
        key=(one.key, other.key) if set(one.key) != set(other.key) else None,
        types=tuple((a.name, a.type, b.type) for a, b in both if a.type != b.type),
        defined=tuple((a.name, a.defined, b.defined) for a, b in both if a.defined != b.defined),
        summed_up=summed_up,
        not_compared=not_compared,
    )


def _compared(one: Column, other: Column) -> Compared:
    kind = common_type(one.type, other.type)
    digits = [_digits(each.type) for each in (one, other)]
    scale = max(behind for _, behind in digits) if kind == "VARCHAR" and None not in digits else None
    numeric = kind in WHOLE or kind.startswith("DECIMAL")
    personal = one.personal or other.personal
    # The sum of one row's day is that row.
    summed = numeric and one.summed and other.summed and not personal
    return Compared(one.name, kind, scale, other.unit, personal, summed)


def common_type(one: str, other: str) -> str:
    """A type that holds the values of both exactly; text if there is no other."""
    if one == other:
        return one
    digits = [_digits(kind) for kind in (one, other)]
    if None not in digits:
        scale = max(scale for _, scale in digits)
        whole = max(width - scale for width, scale in digits)
        if not scale:
            return "BIGINT" if whole <= WHOLE["BIGINT"] else f"DECIMAL({whole},0)"
        if whole + scale <= MOST_DIGITS:
            return f"DECIMAL({whole + scale},{scale})"
    return "TIMESTAMP" if {one, other} == {"DATE", "TIMESTAMP"} else "VARCHAR"


def _digits(kind: str) -> tuple[int, int] | None:
    """Digits in all, and of them behind the point."""
    if kind in WHOLE:
        return WHOLE[kind], 0
    found = DECIMAL.fullmatch(kind)
    return found and (int(found[1]), int(found[2]))


def _cast(value: str, column: Compared) -> str:
    plain = f"{value}::{column.type}"
    if column.scale is None:
        return plain
    # The same number is the same text, but for what does not fit even so.
    return f"coalesce(TRY_CAST({value} AS DECIMAL({MOST_DIGITS}, {column.scale}))::VARCHAR, {plain})"


def _select(
    relation: Relation,
    extract: Path,
    key: Sequence[Compared],
    columns: Sequence[Compared],
    by_day: bool,
    days: Days | None,
    summed_up: bool,
) -> str:
    day = f"{quoted(relation.day)}::DATE" if by_day else "NULL::DATE"
    names = [f"{_cast(quoted(each.name), each)} AS k{n}" for n, each in enumerate(key)]
    figures = [f"sum({quoted(each.name)})" if summed_up else quoted(each.name) for each in columns]
    names += [
        f"{_cast(figure, each)} AS c{n}"
        for n, (figure, each) in enumerate(zip(figures, columns, strict=True))
    ]
    where = f" WHERE {day} BETWEEN DATE '{days[0]}' AND DATE '{days[1]}'" if days else ""
    grouped = [*range(1, len(key) + 1), len(names) + 1]
    group = f" GROUP BY {', '.join(map(str, grouped))}" if summed_up else ""
    if summed_up and figures:  # a metric has no rows of which all figures are 0
        group += f" HAVING {' OR '.join(f'coalesce({figure}, 0) <> 0' for figure in figures)}"
    return f"SELECT {', '.join([*names, f'{day} AS day'])} FROM {parquet([str(extract / relation.file)])}{where}{group}"

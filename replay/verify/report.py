"""Differences as documents, without personal data. Pure.

Rows of one key that differ are told as one: the columns that differ, as they are and as they should be.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from replay.verify.compare import Difference
from schemas.tables import TABLES
from serving.lake.dictionary import identity_of, is_personal
from serving.lake.question import MASK

EXAMPLES = 5
ABSENT = "no row"


def documents(differences: Iterable[Difference], examples: int = EXAMPLES) -> list[dict[str, Any]]:
    """One for each table."""
    return [
        {
            "table": difference.table,
            "equal": difference.equal,
            "rows": difference.rows,
            "expected": difference.expected,
            "missing": difference.missing_rows,
            "unexpected": difference.unexpected_rows,
            "examples": changes(difference)[:examples],
        }
        for difference in differences
    ]


def changes(difference: Difference) -> list[dict[str, Any]]:
    """Each row that differs: what names it, and the columns that differ, as they are and as they should be."""
    names, key, hidden = _shape(difference)
    wanted, seen = (_by_key(rows, key) for rows in (difference.missing, difference.unexpected))
    found = []
    for identity in sorted({*wanted, *seen}, key=repr):
        row = {names[at]: _shown(value) for at, value in zip(key, identity, strict=True)}
        actual, expected = seen.get(identity, []), wanted.get(identity, [])
        if len(actual) != 1 or len(expected) != 1:
            found += [{"row": row, "is": ABSENT, "should_be": "a row"} for _ in expected]
            found += [{"row": row, "is": "a row", "should_be": ABSENT} for _ in actual]
            continue
        differing = [at for at in range(len(names)) if actual[0][at] != expected[0][at]]
        found.append(
            {
                "row": row,
                **{
                    side: {names[at]: MASK if at in hidden else _shown(values[0][at]) for at in differing}
                    for side, values in (("is", actual), ("should_be", expected))
                },
            }
        )
    return found


def _shape(difference: Difference) -> tuple[Sequence[str], Sequence[int], set[int]]:
    """Names of the compared columns, which of them name a row, and which must not be shown."""
    names = difference.columns
    table = TABLES.get(difference.table)
    if table is None or len(names) != len(table.columns):
        # The counts and the live numbers.
        return names, range(difference.named or max(0, len(names) - 1)), set()
    hidden = {at for at, column in enumerate(table.columns) if is_personal(column)}
    return names, [names.index(name) for name in identity_of(table)], hidden


def _by_key(rows: Iterable[tuple], key: Sequence[int]) -> dict[tuple, list[tuple]]:
    found: dict[tuple, list[tuple]] = {}
    for row in rows:
        found.setdefault(tuple(row[at] for at in key), []).append(row)
    return found


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)

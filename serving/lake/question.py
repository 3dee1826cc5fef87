"""A question for rows of one table or view, and the SQL that answers it; pure but for `answer`, which runs it.

Rows come in the order of what names them, so a page begins behind the last row of the one before, and no page shows a
row twice or passes one over, as long as all are of one manifest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb

from schemas.validate import micros
from schemas.view import Relation
from serving.lake.dictionary import is_personal, order_of
from serving.lake.views import quoted
from serving.read.reader import iso_micros

MASK = "***"
PAGE_BYTES = 4_000_000
FETCH = 100  # rows


@dataclass(frozen=True)
class Question:
    """Rows of `table`: `columns` of them, in order, that have one of the values of each column in `where`.

    None among the values stands for null; of a list of strings one of them has to be among the values. `after` is what
    names the last row of the page before. Without `reveal` personal data is masked.
    """

    table: Relation
    columns: tuple[str, ...]
    where: Mapping[str, Sequence[Any]]
    limit: int
    after: tuple[Any, ...] | None = None
    descending: bool = False
    reveal: bool = False

    @property
    def masked(self) -> list[str]:
        """The columns of the answer whose values are hidden."""
        hidden = {column.name for column in self.table.columns if is_personal(column) and not self.reveal}
        return [name for name in self.columns if name in hidden]

    def sql(self, found: Sequence[tuple] = ()) -> tuple[str, list[Any]]:
        """A statement and its parameters: one row more than wanted, each with what names it at its end.

        `found`: what names the rows that the answer has, if that is known; it bounds what is read.
        """
        order, masked = order_of(self.table), set(self.masked)
        shown = [_masked(name) if name in masked else quoted(name) for name in self.columns]
        conditions, parameters = self._conditions(order)
        for name, values in zip(order, zip(*found, strict=True), strict=False):
            conditions.append(f"{quoted(name)} BETWEEN ? AND ?")
            parameters += [min(values), max(values)]
        direction = " DESC" if self.descending else ""
        return (
            f"SELECT {', '.join([*shown, *map(quoted, order)])} FROM {quoted(self.table.name)}"
            + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
            + f" ORDER BY {', '.join(quoted(name) + direction for name in order)} LIMIT {self.limit + 1}"
        ), parameters

    def _conditions(self, order: tuple[str, ...]) -> tuple[list[str], list[Any]]:
        conditions, parameters = [], []
        lists = {column.name for column in self.table.columns if column.type == "strings"}
        for name, values in self.where.items():
            given = [value for value in values if value is not None]
            marks = ", ".join("?" * len(given))
            parts = [f"{quoted(name)} IS NULL"] if len(given) < len(values) else []
            if given:
                parts.append(
                    f"list_has_any({quoted(name)}, [{marks}])"
                    if name in lists
                    else f"{quoted(name)} IN ({marks})"
                )
            conditions.append(f"({' OR '.join(parts)})")
            parameters += given
        if self.after is not None:
            sign = "<" if self.descending else ">"
            # The first condition is what the files' statistics can be asked.
            conditions.append(f"{quoted(order[0])} {sign}= ?")
            conditions.append(f"({', '.join(map(quoted, order))}) {sign} ({', '.join('?' * len(order))})")
            parameters += [self.after[0], *self.after]
        return conditions, parameters


@dataclass(frozen=True)
class Page:
    """Rows as documents; `next` is what names the last one if there are more."""

    rows: list[dict[str, Any]]
    next: tuple[Any, ...] | None


def answer(connection: duckdb.DuckDBPyConnection, question: Question) -> Page:
    """A page of rows out of a connection that has a view of the table.

    First what names the rows, then the rows: what is large is read for the files and rows of one page only.
    """
    names = connection.execute(*replace(question, columns=()).sql()).fetchall()
    if not names:
        return Page([], None)
    result = connection.execute(*question.sql(names))
    return page_of(question, (row for chunk in iter(lambda: result.fetchmany(FETCH), []) for row in chunk))


def page_of(question: Question, rows: Iterable[tuple]) -> Page:
    """The rows that the statement of a question finds, as far as one page goes: it ends early where they are large."""
    width, size = len(question.columns), 0
    shown: list[dict[str, Any]] = []
    last: tuple[Any, ...] | None = None
    for row in rows:
        if len(shown) == question.limit or size > PAGE_BYTES:
            return Page(shown, last)
        document = dict(zip(question.columns, map(plain, row[:width]), strict=True))
        size += sum(_size(value) for value in document.values())
        shown.append(document)
        last = row[width:]
    return Page(shown, None)


def plain(value: Any) -> Any:
    """A value as it stands in JSON: decimals and days as text, times in UTC, bytes in hexadecimal."""
    match value:
        case datetime():
            return iso_micros(micros(value.replace(tzinfo=UTC)))
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case bytes():
            return value.hex()
        case list():
            return [plain(each) for each in value]
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case _:
            return value


def _masked(name: str) -> str:
    return f"CASE WHEN {quoted(name)} IS NOT NULL THEN '{MASK}' END"


def _size(value: Any) -> int:
    """About how many bytes a plain value takes."""
    return len(value) if isinstance(value, str) else len(str(value)) if isinstance(value, list) else 8

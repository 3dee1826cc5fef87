"""A query string as a question for rows of a table: every filter read as its column's type. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from schemas.table import Column
from schemas.view import Relation
from serving.api.lake.cursor import Cursor, parse_cursor
from serving.api.query_string import Parameters, moment, named, one, shown, whole_number, wrong
from serving.lake.dictionary import is_personal
from serving.lake.question import Question

LIMIT, LIMIT_AT_MOST = 100, 1_000
RESERVED = ("columns", "limit", "cursor", "order", "as_of", "reveal")
ORDERS = ("asc", "desc")
BITS = {"int": 31, "long": 63}
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 times without a zone are UTC, as in the views

Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class AsOfAsked:
    """Which manifest is meant: by `number`, or the last before `time` (µs); the newest if it is neither.

    A number may come with its `generation`, each of which counts its own.
    """

    number: int | None = None
    time: int | None = None
    generation: str | None = None


@dataclass(frozen=True)
class RowsAsked:
    """A question, and of which manifest; a `cursor` names its generation too."""

    question: Question
    as_of: AsOfAsked
    cursor: Cursor | None


def parse_as_of(pairs: Pairs, zone: ZoneInfo) -> AsOfAsked:
    """The question of GET /v1/tables. Raises Problem."""
    return _as_of(named(pairs, ("as_of",)), zone)


def parse_rows(table: Relation, pairs: Pairs, zone: ZoneInfo) -> RowsAsked:
    """The question of GET /v1/tables/{name}. Raises Problem."""
    columns = {column.name: column for column in table.columns}
    filters = {name: column for name, column in columns.items() if column.type not in ("binary", "headers")}
    given = named(pairs, (*RESERVED, *(name for name in filters if name not in RESERVED)))
    reveal = _choice(given, "reveal", ("true", "false")) == "true"
    where = {
        name: [_value(filters[name], text, zone) for text in texts]
        for name, texts in given.items()
        if name not in RESERVED
    }
    for name in where:
        if is_personal(filters[name]) and not reveal:
            raise wrong(
                name, "it holds personal data: filter by it with reveal=true, for which the scope is admin"
            )
    cursor, order = parse_cursor(table, one(given, "cursor")), _choice(given, "order", ORDERS)
    as_of = _as_of(given, zone)
    if cursor is not None:
        if order is not None and (order == "desc") != cursor.descending:
            raise wrong("order", "expected the order of the page before, which the cursor goes on in")
        if as_of.number not in (None, cursor.manifest):
            raise wrong(
                "as_of", f"expected that of the page before, {cursor.manifest}, or none: the cursor names it"
            )
    question = Question(
        table,
        _columns(given, columns),
        where,
        whole_number(given, "limit", LIMIT, LIMIT_AT_MOST),
        cursor and cursor.after,
        cursor.descending if cursor else order == "desc",
        reveal,
    )
    return RowsAsked(question, as_of, cursor)


def _columns(given: Parameters, columns: Iterable[str]) -> tuple[str, ...]:
    known = tuple(columns)
    asked = tuple(name for text in given.get("columns", ()) for name in text.split(",") if name)
    for name in asked:
        if name not in known:
            raise wrong("columns", f"expected some of {', '.join(known)}; saw {shown(name)}")
    if len(set(asked)) < len(asked):
        raise wrong("columns", "expected each column once")
    return asked or known


def _as_of(given: Parameters, zone: ZoneInfo) -> AsOfAsked:
    text = one(given, "as_of")
    if text is None:
        return AsOfAsked()
    if found := re.fullmatch(r"(?:(g[0-9]{1,9})-)?([0-9]{1,18})", text, re.ASCII):
        return AsOfAsked(number=int(found[2]), generation=found[1])
    return AsOfAsked(time=moment(given, "as_of", zone))


def _choice(given: Parameters, name: str, choices: tuple[str, str]) -> str | None:
    text = one(given, name)
    if text is not None and text not in choices:
        raise wrong(name, f"expected {' or '.join(choices)}; saw {shown(text)}")
    return text


def _value(column: Column, text: str, zone: ZoneInfo) -> Any:
    """A filter's value; an empty one stands for null, which is what such a row shows."""
    if text == "":
        return None
    name = column.name
    match column.type:
        case "int" | "long":
            most = 2 ** BITS[column.type] - 1
            if not re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII) or abs(int(text)) > most:
                raise wrong(name, f"expected a whole number from {-most} to {most}; saw {shown(text)}")
            return int(text)
        case "decimal":
            whole, scale = column.precision - column.scale, column.scale
            if not re.fullmatch(rf"-?[0-9]{{1,{whole}}}(\.[0-9]{{1,{scale}}})?", text, re.ASCII):
                raise wrong(
                    name,
                    f"expected a decimal number with up to {whole} digits before the point and {scale} behind it; saw "
                    f"{shown(text)}",
                )
            return Decimal(text)
        case "boolean":
            if text not in ("true", "false"):
                raise wrong(name, f"expected true or false; saw {shown(text)}")
            return text == "true"
        case "date":
            return _day(name, text)
        case "timestamp":
            return EPOCH + timedelta(microseconds=moment({name: [text]}, name, zone))
        case _:
            return text


def _day(name: str, text: str) -> date:
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise wrong(name, f"expected a day, such as 2026-05-17; saw {shown(text)}")

"""Casts between text, numbers, times and booleans, without guessing. Pure.

A text that is no number of the asked kind refuses its line (`not_an_int`, `not_a_decimal`, …). Nothing is rounded.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from schemas.validate import micros
from sources.importer.errors import LineRefused, Where
from sources.importer.expression import Expression, cached, lift, shown
from sources.importer.operations.text import as_text

TYPES = {
    "string": "string",
    "int": "int",
    "long": "int",
    "decimal": "decimal",
    "timestamp": "timestamp",
    "bool": "bool",
}
INT = re.compile(r"[+-]?[0-9]{1,38}")
DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,38}(?:\.[0-9]{0,38})?|\.[0-9]{1,38})(?:[eE][+-]?[0-9]{1,2})?")
BOOLS = {
    "true": True,
    "yes": True,
    "y": True,
    "t": True,
    "1": True,
    "false": False,
    "no": False,
    "n": False,
    "f": False,
    "0": False,
}


def to_int(text: str) -> int:
    if not INT.fullmatch(text):
        raise ValueError
    return int(text)


def to_decimal(text: str) -> Decimal:
    """A plain or scientific number below 10³⁸ with at most 38 places: what 100 digits add and multiply exactly."""
    if not DECIMAL.fullmatch(text):
        raise ValueError
    value = Decimal(text)
    if value.adjusted() > 37 or value.as_tuple().exponent < -38:
        raise ValueError
    # 1E+2 and 100 are one number, but only one of them is written with 2 places
    return value if value.as_tuple().exponent <= 0 else value.quantize(Decimal(1))


def to_bool(text: str) -> bool:
    try:
        return BOOLS[text.lower()]
    except KeyError:
        raise ValueError from None


def to_timestamp(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC)


def _whole(value: Decimal) -> int:
    if value != value.to_integral_value():
        raise ValueError
    return int(value)


def _same(value: Any) -> Any:
    return value


CASTS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("string", "int"): to_int,
    ("string", "decimal"): to_decimal,
    ("string", "bool"): to_bool,
    ("string", "timestamp"): to_timestamp,
    ("int", "decimal"): Decimal,
    ("decimal", "int"): _whole,
    ("timestamp", "int"): micros,
    ("bool", "int"): int,
    **{(kind, "string"): as_text for kind in ("int", "decimal", "bool", "timestamp")},
    **{(kind, kind): _same for kind in TYPES.values()},
}
EXPECTED = {
    "int": ("not_an_int", "a whole number such as -12"),
    "decimal": ("not_a_decimal", "a number such as 12.50"),
    "bool": ("not_a_bool", "true/false, yes/no or 1/0"),
    "timestamp": ("not_a_time", "a time with its zone such as 2011-01-31T12:00:00Z (for others use `time`)"),
}


def cast(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """`cast: TYPE`. A time becomes a number of microseconds since 1970 (UTC)."""
    if argument not in TYPES:
        raise where.unknown("type", argument, TYPES)
    target = TYPES[argument]
    if inner.type == "null":
        return lift(inner, target, _same)
    operation = CASTS.get((inner.type, target))
    if operation is None:
        raise where.error(f"{inner.type} cannot become {argument}")
    reason, expected = EXPECTED.get(target, ("not_text", "text"))

    def convert(value: Any) -> Any:
        try:
            return operation(value)
        except (ValueError, OverflowError):
            raise LineRefused(
                reason, f"{where.path}: expected {expected}, saw {shown(inner, value)}"
            ) from None

    return lift(inner, target, cached(convert))


HEADS: dict = {}
STEPS = {"cast": cast}

"""JSON text to a document whose numbers are exact. Pure.

Stricter than `json`: no NaN or Infinity, no key twice in one object. Reasons name line and column, never the text.
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from schemas.validate import Violation

MALFORMED = "malformed_json"
KEY_SHOWN = 40


class Malformed(ValueError):
    """The text is no JSON object as it is taken here; the message says why."""

    def violation(self) -> Violation:
        return Violation(MALFORMED, str(self))


def parse(raw: bytes, line: int = 1) -> dict[str, Any]:
    """The object in `raw`, numbers as int or Decimal. `line` is where `raw` begins in the body. Raises Malformed."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        at = line + before.count(b"\n")
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise Malformed(f"line {at} column {column}: expected UTF-8; saw a byte that is none") from None
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        at = line + error.lineno - 1
        raise Malformed(f"line {at} column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise Malformed(f"line {line}: nested too deeply") from None
    except Malformed as error:
        raise Malformed(f"line {line}: {error}") from None
    except ValueError:
        # int() of more digits than Python converts
        raise Malformed(f"line {line}: a number has too many digits") from None
    if not isinstance(document, dict):
        raise Malformed(f"line {line}: expected a JSON object, one event; saw {json_type(document)}")
    return document


def json_type(value: Any) -> str:
    """What JSON calls the type of a value."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names = {str: "a string", int: "a number", Decimal: "a number", list: "an array", dict: "an object"}
    return names[type(value)]


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Malformed("a number has an exponent beyond all bounds") from None


def _constant(name: str) -> Any:
    raise Malformed(f"expected a number; saw {name}, which JSON does not have")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"expected each key once; {twice[:KEY_SHOWN]!r} stands twice in one object")
    return found


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_constant, object_pairs_hook=_object)

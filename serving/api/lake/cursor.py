"""Where the next page of a table begins: the manifest that all pages are of, and what names the last row seen. Pure."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from schemas.validate import micros
from schemas.view import Relation
from serving.api.query_string import shown, wrong
from serving.lake.dictionary import column_of, order_of

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 times without a zone are UTC, as in the views
MOST = 2**62


@dataclass(frozen=True)
class Cursor:
    """`after` is in the types of the columns that a table's rows are in order of."""

    generation: str
    manifest: int
    descending: bool
    after: tuple[Any, ...]

    def text(self, table: Relation) -> str:
        """As it stands in an answer."""
        body = [table.name, self.generation, self.manifest, self.descending, list(map(_packed, self.after))]
        return base64.urlsafe_b64encode(orjson.dumps(body)).rstrip(b"=").decode()


def parse_cursor(table: Relation, text: str | None) -> Cursor | None:
    """The cursor of a query string. Raises Problem for one that no answer about this table had."""
    if text is None:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        name, generation, manifest, descending, after = orjson.loads(raw)
        if name != table.name or type(descending) is not bool or not isinstance(generation, str):
            raise ValueError
        return Cursor(generation, _number(manifest), descending, _unpacked(table, after))
    except (binascii.Error, ValueError, TypeError, OverflowError):
        raise wrong(
            "cursor", f"expected `next` of an answer about {table.name} as it was; saw {shown(text)}"
        ) from None


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < MOST:
        raise ValueError
    return value


def _packed(value: Any) -> Any:
    if isinstance(value, datetime):
        return micros(value.replace(tzinfo=UTC))
    return value.isoformat() if isinstance(value, date) else value


def _unpacked(table: Relation, values: Sequence[Any]) -> tuple[Any, ...]:
    order = order_of(table)
    if not isinstance(values, list) or len(values) != len(order):
        raise ValueError
    return tuple(
        _value(column_of(table, name).type, value) for name, value in zip(order, values, strict=True)
    )


def _value(kind: str, value: Any) -> Any:
    match kind, value:
        case "timestamp", int():
            return EPOCH + timedelta(microseconds=value)
        case "date", str():
            return date.fromisoformat(value)
        case (("int" | "long"), int()) if not isinstance(value, bool):
            return value
        case "string", str():
            return value
    raise ValueError

"""Records that no careful producer sends: a good event with values that its types forbid, or with other bytes. Pure."""

import io
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import fastavro

from dataflow.testing import Events, Raw
from schemas.contract import CONTRACTS
from schemas.validate import micros
from sources.codec import HEADER, MAGIC, EventCodec

# What is written alike and may hold more: an int that is too large, bytes that are no text.
PHYSICAL = {"int": "long", "string": "bytes"}


class Maker:
    """Makes records under the schema ids of `codec`, of events whose defaults are those of `events`."""

    def __init__(self, codec: EventCodec, events: Events) -> None:
        self.codec, self.events = codec, events

    def good(self, topic: str, **fields: Any) -> Raw:
        """The record of an event."""
        return Raw(topic, *self.codec.encode(topic, self.events(topic, fields)))

    def odd(
        self, topic: str, schema_id: int | None = None, schema: Mapping[str, Any] | None = None, **values: Any
    ) -> Raw:
        """A good event's record but for `values`, which are what Avro writes: money as bytes, times in µs.

        Under another `schema`, `values` are those of its own fields too.
        """
        event = self.events(topic)
        body = {name: physical(value) for name, value in {**event, **values}.items()}
        out = io.BytesIO()
        out.write(HEADER.pack(MAGIC, self.codec.schema_ids[topic] if schema_id is None else schema_id))
        fastavro.schemaless_writer(out, _writer(json.dumps(schema or CONTRACTS[topic].avro)), body)
        return Raw(topic, str(event[CONTRACTS[topic].key]).encode(), out.getvalue())

    def framed(self, topic: str, schema_id: int) -> Raw:
        """A good record that claims another schema id."""
        good = self.good(topic)
        return Raw(topic, good.key, HEADER.pack(MAGIC, schema_id) + good.value[HEADER.size :])

    def cut(self, topic: str, start: int | None, end: int | None, tail: bytes = b"") -> Raw:
        """A good record of which only this part is left, and what is put behind it."""
        good = self.good(topic)
        return Raw(topic, good.key, good.value[start:end] + tail)


def physical(value: Any) -> Any:
    """An event's value as Avro writes it."""
    if isinstance(value, Decimal):
        return unscaled(int(value.scaleb(2)))
    if isinstance(value, str):
        return value.encode()
    return micros(value) if isinstance(value, datetime) else value


def unscaled(number: int) -> bytes:
    """A decimal's bytes: two's complement, as few as possible."""
    return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True)


def with_field(topic: str, name: str, **changes: Any) -> dict[str, Any]:
    """The contract's schema with a field changed, or one more."""
    schema = json.loads(CONTRACTS[topic].avro_json)
    fields = {spec["name"]: spec for spec in schema["fields"]}
    fields[name] = {**fields.get(name, {"name": name}), **changes}
    return {**schema, "fields": list(fields.values())}


@cache
def _writer(schema: str) -> Any:
    """By which any value of the same physical type can be written."""
    plain = json.loads(schema)
    for field in plain["fields"]:
        field["type"] = _plain(field["type"])
        field.pop("default", None)
    return fastavro.parse_schema(plain)


def _plain(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_plain(each) for each in kind]
    kind = kind["type"] if isinstance(kind, dict) and "logicalType" in kind else kind
    return PHYSICAL.get(kind, kind) if isinstance(kind, str) else kind

"""Events to and from Avro in Confluent's wire format: a zero byte, the schema id (4 bytes, big-endian), the Avro body.

Pure: schema ids are handed in. Money is `Decimal`, times are aware UTC datetimes.
"""

import io
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

import fastavro

from schemas.contract import CONTRACTS
from schemas.errors import EventError

MAGIC = 0
HEADER = struct.Struct(">bI")


@cache
def _parsed(topic: str) -> Any:
    return fastavro.parse_schema(dict(CONTRACTS[topic].avro))


class EventCodec:
    """Encodes and decodes events of the source topics. `schema_ids` is the registry's id of each topic's schema."""

    def __init__(self, schema_ids: Mapping[str, int]) -> None:
        self.schema_ids = dict(schema_ids)
        self._headers = {topic: HEADER.pack(MAGIC, schema_id) for topic, schema_id in schema_ids.items()}

    def encode(self, topic: str, event: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Kafka key and value of an event that fits its contract (see `schemas.validate`).

        Missing fields take the contract's default. Raises EventError (`undecodable`) if a value has the wrong type.
        """
        contract = CONTRACTS[topic]
        record = {name: event.get(name) for name in contract.fields}
        for name, field in contract.fields.items():
            if record[name] is None:
                record[name] = field.default_value
        out = io.BytesIO()
        out.write(self._headers[topic])
        try:
            fastavro.schemaless_writer(out, _parsed(topic), record)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise EventError(
                "undecodable", f"{topic}: the event is no {contract.avro['name']} record: {error}"
            ) from error
        return str(record[contract.key]).encode(), out.getvalue()

    def decode(self, topic: str, value: bytes) -> dict[str, Any]:
        """The event in a Kafka value that was written with the topic's own schema. Raises EventError otherwise."""
        if len(value) < HEADER.size:
            raise EventError(
                "too_short", f"expected at least {HEADER.size} bytes of header, saw {len(value)}"
            )
        magic, schema_id = HEADER.unpack_from(value)
        if magic != MAGIC:
            raise EventError("wrong_magic_byte", f"expected a zero byte first, saw {magic & 0xFF:#04x}")
        if schema_id != self.schema_ids[topic]:
            raise EventError(
                "unknown_schema_id", f"expected schema id {self.schema_ids[topic]}, saw {schema_id}"
            )
        body = io.BytesIO(value[HEADER.size :])
        try:
            event = fastavro.schemaless_reader(body, _parsed(topic), None)
        except Exception as error:  # fastavro raises whatever the damaged bytes lead to
            raise EventError("undecodable", f"{topic}: {type(error).__name__}: {error}") from error
        if body.read(1):
            raise EventError("not_canonical", f"{topic}: bytes are left over behind the record")
        return event

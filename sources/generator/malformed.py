"""Records that no reader of the topic can take: each way to damage one, by name.

The name is what an operator would call it; `MALFORMED[name](chance, record)` gives the damaged key and value. Pure.
"""

import copy
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import fastavro

from schemas.contract import CONTRACTS
from sources.codec import HEADER, MAGIC
from sources.generator.randomness import Chance

KeyAndValue = tuple[bytes | None, bytes | None]

CLAIMED_BYTES = 1_500_000_000  # of a record of some forty bytes: a reader that believes it runs out of memory
# 64 bits of this read as 19.99; the other has forty digits.
OVERSIZED = (2**64 + 1999, 10**39 + 7)


@dataclass(frozen=True)
class Record:
    """A good record, to be damaged."""

    topic: str
    event: Mapping[str, Any]
    key: bytes
    value: bytes
    schema_ids: Mapping[str, int]


def wrong_magic_byte(chance: Chance, record: Record) -> KeyAndValue:
    return record.key, bytes([chance.randrange(1, 256)]) + record.value[1:]


def truncated_header(chance: Chance, record: Record) -> KeyAndValue:
    return record.key, record.value[: chance.randrange(1, HEADER.size)]


def truncated(chance: Chance, record: Record) -> KeyAndValue:
    return record.key, record.value[: chance.randrange(HEADER.size, len(record.value))]


def trailing_bytes(chance: Chance, record: Record) -> KeyAndValue:
    return record.key, record.value + chance.randbytes(chance.randrange(1, 9))


def unknown_schema_id(chance: Chance, record: Record) -> KeyAndValue:
    """An id so high that no registry has given it out."""
    return record.key, HEADER.pack(MAGIC, 2_000_000_000 + chance.randrange(1000)) + record.value[
        HEADER.size :
    ]


def schema_id_of_another_topic(chance: Chance, record: Record) -> KeyAndValue:
    others = sorted({i for i in record.schema_ids.values() if i != record.schema_ids[record.topic]})
    return record.key, HEADER.pack(MAGIC, chance.pick(others)) + record.value[HEADER.size :]


def not_utf8(chance: Chance, record: Record) -> KeyAndValue:
    """A byte that stands nowhere in UTF-8, inside a string field."""
    text = record.event["device" if record.topic == "clickstream" else "source"].encode()
    at = record.value.rindex(text) + chance.randrange(len(text))
    return record.key, record.value[:at] + b"\xff" + record.value[at + 1 :]


def empty_value(chance: Chance, record: Record) -> KeyAndValue:
    return record.key, b""


def null_value(chance: Chance, record: Record) -> KeyAndValue:
    """A tombstone, which means nothing here: a deletion is an event with op d."""
    return record.key, None


def null_key(chance: Chance, record: Record) -> KeyAndValue:
    """A good value, but Kafka cannot keep it in the order of its entity."""
    return None, record.value


def oversized_string(chance: Chance, record: Record) -> KeyAndValue:
    """The first field claims to be CLAIMED_BYTES long."""
    body = record.value[HEADER.size :]
    return record.key, record.value[: HEADER.size] + zigzag(CLAIMED_BYTES) + body[1:37]


def negative_length(chance: Chance, record: Record) -> KeyAndValue:
    body = record.value[HEADER.size :]
    return record.key, record.value[: HEADER.size] + zigzag(-chance.randrange(1, 1000)) + body[1:]


def oversized_decimal(chance: Chance, record: Record) -> KeyAndValue:
    """A sum of money with more digits than its field has, which a strict writer would not write."""
    event = dict(record.event)
    money = [n for n, f in CONTRACTS[record.topic].fields.items() if f.type == "decimal"]
    for name in money:
        if event[name] is not None:
            event[name] = unscaled(int(event[name] * 100))
    event[chance.pick(money)] = unscaled(chance.pick(OVERSIZED))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _without_decimals(record.topic), event)
    return record.key, record.value[: HEADER.size] + out.getvalue()


Damage = Callable[[Chance, Record], KeyAndValue]
MALFORMED: dict[str, Damage] = {
    f.__name__: f
    for f in (
        wrong_magic_byte,
        truncated_header,
        truncated,
        trailing_bytes,
        unknown_schema_id,
        schema_id_of_another_topic,
        not_utf8,
        empty_value,
        null_value,
        null_key,
        oversized_string,
        negative_length,
        oversized_decimal,
    )
}
# in the order of MALFORMED; only topics with money have decimals
KINDS: dict[str, tuple[str, ...]] = {
    topic: tuple(
        name
        for name in MALFORMED
        if name != "oversized_decimal" or any(f.type == "decimal" for f in contract.fields.values())
    )
    for topic, contract in CONTRACTS.items()
}


def zigzag(number: int) -> bytes:
    """A long as Avro writes it."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def unscaled(number: int) -> bytes:
    """An integer as Avro's decimal writes it: two's complement, big-endian."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


@cache
def _without_decimals(topic: str) -> Any:
    """The topic's schema with decimals as the plain bytes that they are on the wire."""
    schema = copy.deepcopy(dict(CONTRACTS[topic].avro))
    for field in schema["fields"]:
        if CONTRACTS[topic].fields[field["name"]].type == "decimal":
            field["type"] = ["null", "bytes"] if isinstance(field["type"], list) else "bytes"
            field.pop("default", None)
    return fastavro.parse_schema(schema)

"""The judge in plain Python: what `streams.judge` decides in Spark, for one record at a time.

For whoever wants a verdict without Spark: a forecast for a dead letter, a test. Tests hold the two equal. Pure.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import fastavro
import orjson

from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS, Contract
from schemas.errors import ContractError
from schemas.evolution import Misfit, Source, plain_schema, project, projection
from schemas.validate import broken_rules
from sources.codec import HEADER, MAGIC
from streams.limits import VERDICT_TOO_LARGE, event_bytes, may_exceed

UNKNOWN_SCHEMA = "unknown_schema_id"


@dataclass(frozen=True)
class _Reading:
    writer: Any
    sources: Mapping[str, Source | None]
    has_maps: bool


class PlainJudge:
    """Knows the schemas that the registry lists under each topic; `max_bytes` bounds key plus value."""

    def __init__(self, known: Mapping[str, Sequence[RegisteredSchema]], max_bytes: int) -> None:
        self._known = {
            topic: {each.schema_id: each.avro for each in schemas} for topic, schemas in known.items()
        }
        self._max_bytes, self._event_bytes = max_bytes, event_bytes(max_bytes)

    def judge(
        self, topic: str, key: bytes | None, value: bytes | None, kafka_time: int
    ) -> tuple[list[str], dict[str, Any] | None]:
        """Why a record is refused (empty: it is not), and its event (money as Decimal, times in µs).

        `kafka_time` is when the broker took it or would take it, in µs.
        """
        reason = self._framing_reason(topic, key, value)
        if reason is not None:
            return [reason], None
        contract = CONTRACTS[topic]
        found = _event(contract, self._known[topic][HEADER.unpack_from(value)[1]], value[HEADER.size :])
        if isinstance(found, str):
            return [found], None
        if found[contract.key].encode() != key:
            return ["key_is_not_entity_id"], None
        broken = [violation.rule for violation in broken_rules(contract, found, kafka_time, "reject")]
        if broken:
            return broken, None
        if may_exceed(len(value), self._event_bytes):
            size = len(orjson.dumps(canonical_event(contract, found)))
            if size > self._event_bytes:
                return [VERDICT_TOO_LARGE], None
        return [], found

    def _framing_reason(self, topic: str, key: bytes | None, value: bytes | None) -> str | None:
        if value is None:
            return "null_value"
        if key is None:
            return "null_key"
        if len(key) + len(value) > self._max_bytes:
            return "too_large"
        if len(value) < HEADER.size:
            return "too_short"
        magic, schema_id = HEADER.unpack_from(value)
        if magic != MAGIC:
            return "wrong_magic_byte"
        return None if schema_id in self._known.get(topic, {}) else UNKNOWN_SCHEMA


def canonical_event(contract: Contract, event: Mapping[str, Any]) -> dict[str, Any]:
    """A judged event (money as Decimal, times in µs) as verdicts hold it."""
    return {
        name: int(event[name].scaleb(field.scale)) if isinstance(event[name], Decimal) else event[name]
        for name, field in contract.fields.items()
        if event[name] is not None and not field.pii
    }


def _event(contract: Contract, avro: str, body: bytes) -> dict[str, Any] | str:
    """The event in the Avro bytes of a record, or why there is none."""
    reading = _reading(contract.topic, avro)
    if reading is None:
        return "incompatible_schema"
    stream, again = io.BytesIO(body), io.BytesIO()
    try:
        record = fastavro.schemaless_reader(stream, reading.writer, None)
        fastavro.schemaless_writer(again, reading.writer, record)
    except UnicodeDecodeError:
        return "invalid_utf8"
    except Exception:  # noqa: BLE001 fastavro raises whatever the damaged bytes lead to
        return "undecodable"
    written = again.getvalue()
    if len(written) != len(body) or (written != body and not reading.has_maps):
        return "not_canonical"
    try:
        return project(contract, reading.sources, record)
    except Misfit:
        return "does_not_fit_contract"


@lru_cache(1_000)
def _reading(topic: str, avro: str) -> _Reading | None:
    """How to read records of a schema; None if the contract cannot."""
    try:
        schema = json.loads(avro)
        sources = projection(CONTRACTS[topic], schema)
        plain = plain_schema(schema, sources)
        return _Reading(fastavro.parse_schema(json.loads(plain)), sources, '"map"' in plain)
    except (ContractError, fastavro.schema.SchemaParseException, ValueError, KeyError, TypeError):
        return None

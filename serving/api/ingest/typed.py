"""A JSON document to a typed event by its topic's contract, and what the ingest fills in. Pure.

Money becomes Decimal, a time an aware datetime; ids, clock and keys are handed in. Whether the event fits its
contract's rules is `schemas.validate`'s to say. Personal data is never repeated in a reason.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from schemas.contract import CONTRACTS, Field
from schemas.times import parse_rfc3339
from schemas.validate import Violation, micros, violations
from serving.api.json_document import json_type

SOURCE = "rest"
CREATE = "c"
# Namespace of the event ids that follow from an Idempotency-Key.
IDEMPOTENCY = uuid.UUID("6d1f9c1e-6f0b-5a57-9a0e-6b1f5a6f2c11")
AMOUNT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
REASON_AT_MOST = 500


@dataclass(frozen=True)
class Accepted:
    """An event that fits its contract. Without `version` it still needs one."""

    topic: str
    event: dict[str, Any]

    @property
    def event_id(self) -> str:
        return self.event["event_id"]

    @property
    def needs_version(self) -> bool:
        return CONTRACTS[self.topic].is_change and self.event.get("version") is None

    def with_version(self, version: int) -> "Accepted":
        return Accepted(self.topic, {**self.event, "version": version})


@dataclass(frozen=True)
class Refused:
    """Why an event does not fit its contract."""

    reasons: tuple[Violation, ...]

    def as_json(self) -> list[dict[str, str]]:
        # A name that the client chose may hold half a surrogate pair, which is no text.
        return [
            {"rule": v.rule, "reason": v.reason.encode("utf-8", "replace").decode()[:REASON_AT_MOST]}
            for v in self.reasons
        ]


def judge(topic: str, document: Mapping[str, Any], event_id: str, now: datetime) -> Accepted | Refused:
    """The document as an event, or all reasons against it. `event_id` is for a document without one."""
    event, wrong = typed(topic, document)
    if wrong:
        return Refused(tuple(wrong))
    contract = CONTRACTS[topic]
    filled = {"event_id": event_id, "occurred_at": now}
    if contract.is_change:
        filled |= {"op": CREATE, "source": SOURCE}
    for name, value in filled.items():
        if event.get(name) is None:
            event[name] = value
    for name, field in contract.fields.items():
        if event.get(name) is None and field.default is not None:
            event[name] = Decimal(0) if field.type == "decimal" else field.default
    # The version is given later, to what is accepted only; any number stands for it here.
    judged = {**event, "version": 0} if contract.is_change and event.get("version") is None else event
    reasons = violations(topic, judged, micros(now))
    if reasons:
        return Refused(tuple(reasons))
    for name, field in contract.fields.items():
        if field.type == "decimal" and event.get(name) is not None:
            # 1e2 and 100.00 are the same amount; Avro wants the scale of the contract.
            event[name] = event[name].quantize(Decimal(1).scaleb(-field.scale))
    return Accepted(topic, event)


def typed(topic: str, document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Violation]]:
    """The document's values with the contract's types, and what has no such form. Unknown fields stay as they are."""
    fields = CONTRACTS[topic].fields
    event: dict[str, Any] = {}
    wrong: list[Violation] = []
    for name, value in document.items():
        field = fields.get(name)
        if field is None:
            wrong.append(Violation("unknown_field", f"{topic} has no field {name[:60]!r}"))
            continue
        try:
            event[name] = None if value is None else _value(field, value)
        except ValueError as error:
            wrong.append(Violation(f"{name}_type", f"{name}: {error}"))
    return event, wrong


def idempotent_id(caller: str, topic: str, key: str, line: int) -> str:
    """The event id of a line of a request that carries an Idempotency-Key: the same one for each attempt."""
    return str(uuid.uuid5(IDEMPOTENCY, f"{caller}\n{topic}\n{line}\n{key}"))


def _value(field: Field, value: Any) -> Any:
    match field.type:
        case "string":
            if isinstance(value, str):
                return value
            raise ValueError(f"expected a string; saw {json_type(value)}")
        case "int" | "long":
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            raise ValueError(f"expected a whole number without a point; saw {json_type(value)}")
        case "decimal":
            return _amount(value)
        case "timestamp":
            if isinstance(value, str):
                return parse_rfc3339(value)
            raise ValueError(
                f"expected a time as in RFC 3339, such as 2026-05-17T09:30:00Z; saw {json_type(value)}"
            )


def _amount(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and AMOUNT.fullmatch(value):
        return Decimal(value)
    seen = "another string" if isinstance(value, str) else json_type(value)
    raise ValueError(f'expected an amount, as a number or as a string such as "19.99"; saw {seen}')

"""Judge one event in Python, before it is Avro: types first, then the same rules that run in the stream.

Used by the REST ingest and the importer to say at once what is wrong, and by the tests as the second opinion on the
Spark judge. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from schemas.contract import CONTRACTS, Contract, Field, Rule
from schemas.expression import Evaluator, compile_expression

INT_RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}


@dataclass(frozen=True)
class Violation:
    """A rule that an event breaks, and why in words. Personal data is not repeated in the reason."""

    rule: str
    reason: str


def micros(value: datetime) -> int:
    """UTC microseconds since 1970 of an aware datetime, exactly (timestamp() goes through a float)."""
    delta = value - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def violations(topic: str, event: Mapping[str, Any], kafka_time: int) -> list[Violation]:
    """All reasons to refuse `event` (money as Decimal, times as aware datetimes), empty if it fits its contract.

    `kafka_time` is when the broker took it or would take it, in UTC microseconds.
    """
    contract = CONTRACTS[topic]
    found = [v for field in contract.fields.values() if (v := _type_violation(field, event.get(field.name)))]
    unknown = sorted(set(event) - set(contract.fields))
    if unknown:
        found.append(Violation("unknown_field", f"{topic} has no field {', '.join(unknown)}"))
    if found:
        return found
    return broken_rules(contract, {n: _plain(event.get(n)) for n in contract.fields}, kafka_time, "reject")


def broken_rules(
    contract: Contract, row: Mapping[str, Any], kafka_time: int, severity: str
) -> list[Violation]:
    """The rules of one severity that a well-typed row (money Decimal, times int µs) breaks, in their order."""
    row = {**row, "kafka_time": kafka_time}
    return [
        Violation(rule.name, _reason(contract, rule, row))
        for rule, holds in _compiled(contract.topic)
        if rule.severity == severity and holds(row) is False
    ]


@cache
def _compiled(topic: str) -> tuple[tuple[Rule, Evaluator], ...]:
    contract = CONTRACTS[topic]
    scales = dict.fromkeys((*contract.fields, "kafka_time"), 0)
    return tuple((rule, compile_expression(rule.expression, scales)[0]) for rule in contract.rules)


def _plain(value: Any) -> Any:
    return micros(value) if isinstance(value, datetime) else value


def _reason(contract: Contract, rule: Rule, row: Mapping[str, Any]) -> str:
    seen = [n for n in contract.fields if rule.name.startswith(n + "_")]
    field = max(seen, key=len) if seen else None
    if field is None or contract.fields[field].pii:
        return rule.description
    return f"{rule.description} Saw {str(row[field])[:80]!r}."


def _type_violation(field: Field, value: Any) -> Violation | None:
    if value is None:
        if field.required:
            return Violation(
                f"{field.name}_required", f"{field.name} is required ({field.type}); saw nothing"
            )
        return None
    expected = {"string": str, "int": int, "long": int, "decimal": Decimal, "timestamp": datetime}[field.type]
    if not isinstance(value, expected) or isinstance(value, bool):
        return Violation(f"{field.name}_type", f"{field.name} is a {field.type}; saw {type(value).__name__}")
    if field.type in INT_RANGES:
        low, high = INT_RANGES[field.type]
        if not low <= value <= high:
            return Violation(
                f"{field.name}_type",
                f"{field.name} is a {field.type} from {low} to {high}{_saw(field, value)}",
            )
    if field.type == "decimal":
        return _decimal_violation(field, value)
    if field.type == "timestamp" and value.tzinfo is None:
        return Violation(f"{field.name}_type", f"{field.name} needs a time zone, such as a Z at its end")
    if field.type == "string" and not _is_unicode(value):
        return Violation(f"{field.name}_type", f"{field.name} holds half a surrogate pair, which is no text")
    return None


def _decimal_violation(field: Field, value: Decimal) -> Violation | None:
    shape = f"{field.name} has at most {field.precision - field.scale} digits before and {field.scale} behind the point"
    if not value.is_finite():
        return Violation(f"{field.name}_type", f"{shape}{_saw(field, value)}")
    # The place of the first digit first: arithmetic on a huge exponent raises. A zero may carry one and is still zero.
    too_long = bool(value) and value.adjusted() >= field.precision - field.scale
    if too_long or value != round(value, field.scale):
        return Violation(f"{field.name}_type", f"{shape}{_saw(field, value)}")
    return None


def _saw(field: Field, value: Any) -> str:
    return "" if field.pii else f"; saw {str(value)[:40]}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

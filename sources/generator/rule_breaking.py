"""Events that decode but break one rule of their contract: for each rule, a value that breaks it.

Derived from the contract's fields, as the rules themselves are: a new field or attribute is broken without further
ado. Rules between fields, which stand in YAML, have their breaker here. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from schemas.contract import CONTRACTS, Field
from schemas.errors import ContractError
from sources.generator.randomness import Chance

Event = Mapping[str, Any]
BEFORE_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Breaker:
    """`changes(event, far_ahead)` are the fields to replace so that the event breaks `rule`."""

    rule: str
    changes: Callable[[Event, datetime], dict[str, Any]]


def break_rule(chance: Chance, topic: str, event: Event, far_ahead: datetime) -> tuple[str, dict[str, Any]]:
    """A rule's name and a copy of `event` that breaks it.

    `far_ahead` is a time more than a day after the record's arrival.
    """
    breaker = chance.pick(breakers(topic))
    # an event of its own: nothing of it shall be taken for a repeat of the good one
    return breaker.rule, {**event, "event_id": chance.uuid(), **breaker.changes(event, far_ahead)}


@cache
def breakers(topic: str) -> tuple[Breaker, ...]:
    """Every way to break one of the topic's `reject` rules."""
    contract = CONTRACTS[topic]
    found = [breaker for field in contract.fields.values() for breaker in _of_field(field)]
    found += BETWEEN_FIELDS.get(topic, ())
    known = {breaker.rule for breaker in found}
    missing = [rule.name for rule in contract.rules if rule.severity == "reject" and rule.name not in known]
    if missing:
        raise ContractError(
            f"{topic}: the generator cannot break {', '.join(missing)}; say how in sources/generator/rule_breaking.py"
        )
    return tuple(found)


def _of_field(field: Field) -> list[Breaker]:
    n, a = field.name, field.attributes
    values: list[tuple[str, Any]] = []
    if field.type == "timestamp":
        values.append((f"{n}_in_range", BEFORE_TIME))
    if a.get("format") == "uuid":
        values += [(f"{n}_is_uuid", "not-a-uuid"), (f"{n}_is_uuid", "0B5A8F8E-8F4A-4D67-9F4C-9D3F5B1A2C3D")]
    elif a.get("format") == "email":
        values.append((f"{n}_is_email", "nobody.example.com"))
    elif a.get("format") == "country":
        values += [(f"{n}_is_country", "ZZ"), (f"{n}_is_country", "de")]
    if "one_of" in a:
        values.append((f"{n}_allowed", "mystery"))
    if "max_length" in a:
        values += [
            (f"{n}_text", ""),
            (f"{n}_text", " untrimmed "),
            (f"{n}_text", "x" * (a["max_length"] + 1)),
        ]
    if "minimum" in a:
        step = Decimal("0.01") if field.type == "decimal" else 1
        values.append((f"{n}_minimum", a["minimum"] - step))
    if "maximum" in a:
        values.append((f"{n}_maximum", a["maximum"] + 1))
    found = [Breaker(rule, lambda event, ahead, n=n, value=value: {n: value}) for rule, value in values]
    if field.type == "timestamp":
        found.append(Breaker(f"{n}_in_range", lambda event, ahead, n=n: {n: ahead}))
    return found


def _discount_above_line(event: Event, far_ahead: datetime) -> dict[str, Any]:
    return {"discount": event["quantity"] * event["unit_price"] + Decimal("0.01")}


def _line_above_any_total(event: Event, far_ahead: datetime) -> dict[str, Any]:
    return {"quantity": 2**31 - 1, "unit_price": Decimal("99999999.99")}


BETWEEN_FIELDS: dict[str, tuple[Breaker, ...]] = {
    "order_items": (
        Breaker("discount_within_line", _discount_above_line),
        Breaker("line_amount_in_range", _line_above_any_total),
    ),
}

# Far enough for a history that is produced at any time.
NEVER = datetime(2199, 1, 1, tzinfo=UTC)
TWO_DAYS = timedelta(days=2)

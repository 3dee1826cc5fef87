"""Typed events for tests: a contract's fields with believable defaults, of an injected clock and injected ids. Pure.

A test names what it is about and gets a whole event: `events("orders", total_amount="129.90")`. The same calls give the
same events in every run.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from math import ceil, floor
from typing import Any

from dataflow.testing.clock import Clock, Ids
from schemas.contract import CONTRACTS, Contract, Field
from schemas.errors import ContractError
from schemas.times import parse_rfc3339

COUNTRY = "AT"


class Event(dict[str, Any]):
    """A plain dict of an event's fields that knows its topic."""

    __slots__ = ("topic",)

    def __init__(self, topic: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.topic = topic

    def __repr__(self) -> str:
        return f"Event({self.topic!r}, {super().__repr__()})"


class Events:
    """Makes events. Versions grow per entity, whether it is named by id or taken over from an event before."""

    def __init__(self, clock: Clock | None = None, ids: Ids | None = None, source: str = "test") -> None:
        self.clock, self.ids = clock or Clock(), ids or Ids()
        self._source = source
        self._made: Counter[str] = Counter()
        self._versions: dict[tuple[str, Any], int] = {}

    def __call__(self, topic: str, fields: Mapping[str, Any] | None = None, /, **more: Any) -> Event:
        """An event of `topic` with these fields, and defaults that fit the contract for all others.

        What may be null is null, what has a default has it, other ids are new ones, times are the clock's, of several
        values it is the first. Money may be given as text (never as a float), times as RFC 3339. A given value may well
        break a rule: that is for the judge to say. Raises ContractError for a topic or field that there is not.
        """
        contract = _contract(topic)
        given = {**(fields or {}), **more}
        unknown = sorted(given.keys() - contract.fields.keys())
        if unknown:
            raise ContractError(
                f"expected fields of {topic} ({', '.join(contract.fields)}), saw {', '.join(unknown)}; correct the name"
            )
        self._made[topic] += 1
        number = self._made[topic]
        event = Event(topic, {})
        for name, field in contract.fields.items():
            event[name] = converted(field, given[name]) if name in given else self._default(field, number)
        if contract.is_change:
            self._complete_change(contract, event, given)
        return event

    def change(self, before: Event, fields: Mapping[str, Any] | None = None, /, **more: Any) -> Event:
        """The next version of the entity in `before`: its row with these fields changed, `op` u unless given."""
        contract = _contract(before.topic)
        if not contract.is_change:
            raise ContractError(
                f"{before.topic} holds facts, which never change: expected an event of a topic with versions"
            )
        row = {name: before[name] for name in contract.row_fields}
        return self(before.topic, {"op": "u", **row, **(fields or {})}, **more)

    def delete(self, before: Event) -> Event:
        """The entity's deletion: its last full row, `op` d."""
        return self.change(before, op="d")

    def _complete_change(self, contract: Contract, event: Event, given: Mapping[str, Any]) -> None:
        entity = contract.topic, event[contract.entity_id]
        if "version" not in given:
            event["version"] = self._versions.get(entity, 0) + 1
        if isinstance(event["version"], int):
            self._versions[entity] = max(event["version"], self._versions.get(entity, 0))
        for name, value in (("op", "c"), ("source", self._source)):
            if name not in given:
                event[name] = value

    def _default(self, field: Field, number: int) -> Any:
        a = field.attributes
        if field.nullable or field.default is not None:
            return field.default_value
        if field.type == "timestamp":
            return self.clock.now()
        if field.type in ("int", "long", "decimal"):
            return _number(field)
        if a.get("one_of"):
            return a["one_of"][0]
        if a.get("format") == "uuid":
            return self.ids()
        if a.get("format") == "email":
            return _email(number, a.get("max_length"))
        if a.get("format") == "country":
            return COUNTRY
        return f"{field.name}-{number}"[: a.get("max_length", 200)]


def _number(field: Field) -> int | Decimal:
    """One, or what comes next to it that the field's bounds and digits allow."""
    a = field.attributes
    least, most = ([Decimal(str(a[name]))] if name in a else [] for name in ("minimum", "maximum"))
    if field.type == "decimal":
        if field.precision == field.scale:
            most.append(Decimal(1).scaleb(-field.scale))  # no digit before the point
        return max([min([Decimal(1), *most]), *least])
    return max([min([1, *map(floor, most)]), *map(ceil, least)])


def _email(number: int, most: int | None) -> str:
    """An address of at most so many characters."""
    address = f"somebody-{number}@example.org"
    return address if most is None or len(address) <= most else f"{number}@x.io"


def converted(field: Field, value: Any) -> Any:
    """A value as an event holds it. What cannot be converted stays as it is: the judge or the encoder will say so.

    Raises ContractError for a float, which holds no money, and for a time without a zone.
    """
    if field.type == "decimal":
        if isinstance(value, float):
            raise ContractError(
                f'{field.name}: expected money as text or Decimal, such as "{value:.2f}", saw the float {value!r}, '
                "which is not exact"
            )
        if isinstance(value, str | int) and not isinstance(value, bool):
            try:
                return Decimal(value)
            except InvalidOperation:
                return value
    if field.type == "timestamp":
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ContractError(f"{field.name}: expected a time with a time zone, saw {value.isoformat()}")
        if isinstance(value, str):
            try:
                return parse_rfc3339(value)
            except ValueError as error:
                raise ContractError(f"{field.name}: {error}, saw {value!r}") from error
    return value


def _contract(topic: str) -> Contract:
    if topic not in CONTRACTS:
        raise ContractError(
            f"expected a topic with a contract ({', '.join(CONTRACTS)}), saw {topic!r}; one of your own is found where "
            "DATAFLOW_CONTRACTS, or dataflow_contracts in pytest's configuration, names its directory"
        )
    return CONTRACTS[topic]

"""The `control_totals` section of a mapping: numbers that are followed through the import. Pure.

`sources.importer.account` adds them up and checks them.
"""

from dataclasses import dataclass
from typing import Any

from schemas.contract import CONTRACTS
from sources.importer.compiler import Compiler
from sources.importer.errors import Where
from sources.importer.expression import NUMBERS, Expression, require_type
from sources.importer.sections import choice, named, section


@dataclass(frozen=True)
class EventTotal:
    """A class of events in a control total: `sign` x `field` of the events of `topic` with the values of `where`."""

    name: str
    topic: str
    field: str
    sign: int
    where: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class ControlTotal:
    """A number that is followed through the import; see `sources.importer.account`."""

    name: str
    line: Expression
    booked: Expression
    by: Expression | None
    events: tuple[EventTotal, ...]


def load_control_total(name: str, spec: Any, line: Compiler, where: Where) -> ControlTotal:
    section(spec, ("line", "booked", "by", "events"), where)
    if "line" not in spec:
        raise where.error("expected `line`: what a line is worth, as the file says")
    value = line.compile(spec["line"], where / "line")
    booked = line.compile(spec["booked"], where / "booked") if "booked" in spec else value
    for key, expression in (("line", value), ("booked", booked)):
        require_type(expression, NUMBERS, key, where / key)
    by = line.compile(spec["by"], where / "by") if "by" in spec else None
    events = [
        _event_total(key, item, where / "events" / key)
        for key, item in named(spec.get("events"), where / "events").items()
    ]
    return ControlTotal(name, value, booked, by, tuple(events))


def _event_total(name: str, spec: Any, where: Where) -> EventTotal:
    section(spec, ("topic", "field", "sign", "where"), where)
    if spec.get("topic") not in CONTRACTS:
        raise (where / "topic").unknown("topic", spec.get("topic"), CONTRACTS)
    fields = CONTRACTS[spec["topic"]].fields
    if spec.get("field") not in fields or fields[spec["field"]].type not in ("int", "long", "decimal"):
        numbers = [field for field in fields.values() if field.type in ("int", "long", "decimal")]
        raise (where / "field").unknown(
            f"number of {spec['topic']}", spec.get("field"), [field.name for field in numbers]
        )
    sign = choice(spec, "sign", ("plus", "minus"), "plus", where)
    conditions = spec.get("where") or {}
    for key in section(conditions, fields, where / "where"):
        if isinstance(conditions[key], dict | list):
            raise (where / "where" / key).error(f"expected a literal, saw {conditions[key]!r}")
    return EventTotal(
        name, spec["topic"], spec["field"], 1 if sign == "plus" else -1, tuple(conditions.items())
    )

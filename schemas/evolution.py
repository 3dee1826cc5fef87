"""How a record that was written with another version of a topic's schema is read as the contract wants it. Pure.

The registry lets a schema change so that new readers read old records. This is the other direction, too: the contract
of the moment reads records of a newer schema, as far as that is possible without guessing. Fields are found by name or
alias; what is wider has to fit; what the contract has not heard of is left out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from schemas.contract import Contract, Field
from schemas.errors import ContractError

INT_BOUNDS = {"int": 2**31, "long": 2**63}
# contract's type → Avro types that may stand for it
READS = {
    "string": {"string", "enum"},
    "int": {"int", "long"},
    "long": {"int", "long"},
    "decimal": {"decimal"},
    "timestamp": {"timestamp-micros", "timestamp-millis"},
}
LOGICAL = {"decimal", "timestamp-micros", "timestamp-millis"}
PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}


@dataclass(frozen=True)
class Source:
    """Where the value of a contract's field is in a writer's record: its name there, and its Avro type."""

    name: str
    kind: str


class Misfit(ValueError):
    """A value under another schema that the contract cannot hold."""


def projection(contract: Contract, writer: Mapping[str, Any]) -> dict[str, Source | None]:
    """Contract field → where to find it in a record of the schema `writer`; None: it takes the contract's default.

    Raises ContractError naming the field if records of `writer` cannot be read by the contract.
    """
    kind = writer.get("type") if isinstance(writer, Mapping) else writer
    if kind != "record":
        raise ContractError(f"{contract.topic}: expected an Avro record schema, saw {kind!r:.80}")
    fields = {spec["name"]: spec for spec in writer["fields"]}
    if all(isinstance(spec["type"], list) or spec["type"] == "null" for spec in writer["fields"]):
        raise ContractError(
            f"{contract.topic}: expected a field that is not optional; the schema has none, so a damaged record could "
            "not be told from an empty one"
        )
    aliased = {alias: spec["name"] for spec in writer["fields"] for alias in spec.get("aliases", ())}
    found: dict[str, Source | None] = {}
    taken: dict[str, str] = {}  # field of the writer → of the contract
    for name, field in contract.fields.items():
        candidates = (name, aliased.get(name), *field.aliases, *map(aliased.get, field.aliases))
        at = next((each for each in candidates if each in fields), None)
        if at is None and field.required:
            raise ContractError(
                f"{contract.topic}: expected the field {name}, which every event must have; the schema has neither it "
                "nor one with that alias"
            )
        if at is not None and (other := taken.setdefault(at, name)) != name:
            raise ContractError(
                f"{contract.topic}: expected a field for each of {other} and {name}; the schema has {at} for both"
            )
        found[name] = None if at is None else Source(at, _kind(contract.topic, field, fields[at]["type"]))
    return found


def _kind(topic: str, field: Field, kind: Any) -> str:
    if isinstance(kind, list):
        others = [each for each in kind if each != "null"]
        kind = others[0] if len(others) == 1 else kind
    if isinstance(kind, dict):
        kind = kind.get("logicalType") if kind.get("logicalType") in LOGICAL else kind.get("type")
    if not isinstance(kind, str) or kind not in READS[field.type]:
        raise ContractError(
            f"{topic}: {field.name}: expected {' or '.join(sorted(READS[field.type]))}, saw {kind}: "
            "a record of this schema cannot be read without guessing"
        )
    return kind


def project(
    contract: Contract, sources: Mapping[str, Source | None], record: Mapping[str, Any]
) -> dict[str, Any]:
    """The event in a writer's record; times are whole numbers in the writer's unit there, µs here.

    Raises Misfit for a value that the contract cannot hold.
    """
    return {
        name: field.default_value
        if sources[name] is None
        else _fit(field, sources[name], record[sources[name].name])
        for name, field in contract.fields.items()
    }


def _fit(field: Field, source: Source, value: Any) -> Any:
    if value is None:
        if field.nullable:
            return None
        raise Misfit(f"{field.name} is null")
    if source.kind == "timestamp-millis":
        value *= 1000
    bound = INT_BOUNDS.get("long" if field.type == "timestamp" else field.type)
    if bound is not None and not -bound <= value < bound:
        raise Misfit(f"{field.name} is out of range")
    if field.type == "decimal":
        return _fit_decimal(field, value)
    return value


def _fit_decimal(field: Field, value: Decimal) -> Decimal:
    try:
        fitted = value.quantize(Decimal(1).scaleb(-field.scale))
    except InvalidOperation:
        fitted = None
    if fitted is None or fitted != value or len(fitted.as_tuple().digits) > field.precision:
        raise Misfit(
            f"{field.name} has more digits than {field.precision} with {field.scale} behind the point"
        )
    return fitted


def plain_schema(avro: Mapping[str, Any], sources: Mapping[str, Source | None]) -> str:
    """The same schema without logical types, so that no calendar and no library can refuse or change a value.

    Money that is read keeps its type. Bytes are the same under both.
    """
    money = {source.name for source in sources.values() if source and source.kind == "decimal"}
    plain = json.loads(json.dumps(avro))
    for field in plain["fields"]:
        field["type"] = _primitive(field["type"], field["name"] in money)
    return json.dumps(plain)


def bare_type(kind: Any) -> Any:
    """An Avro type, and those inside it, without logical types."""
    return _primitive(kind, False)


def _primitive(kind: Any, is_money: bool) -> Any:
    if isinstance(kind, list):
        return [_primitive(each, is_money) for each in kind]
    if not isinstance(kind, dict):
        return kind
    if kind.get("logicalType") == "decimal" and is_money:
        return kind
    bare = {name: value for name, value in kind.items() if name != "logicalType"}
    for inner in ("items", "values"):
        if inner in bare:
            bare[inner] = _primitive(bare[inner], False)
    if "fields" in bare:
        bare["fields"] = [{**each, "type": _primitive(each["type"], False)} for each in bare["fields"]]
    return bare["type"] if isinstance(bare["type"], str) and bare["type"] in PRIMITIVES else bare

"""What an Avro schema has to have so that it can be a topic's contract. Pure.

The judge, the fold and the ingest rely on it: a key and an entity id that every event brings, a time, an identity, and
types that Spark, Avro, JSON and Redis hold alike. Everything else in a schema is the user's own affair.
"""

from collections.abc import Mapping
from typing import Any

import fastavro

from schemas.errors import ContractError
from schemas.extension import NAME, one_line
from schemas.sql_words import SQL_WORDS

CHANGE_FIELDS = ("event_id", "op", "occurred_at", "version", "source")
TYPES = {
    "event_id": "string",
    "op": "string",
    "occurred_at": "timestamp-micros",
    "version": "long",
    "source": "string",
}
BASES = {"decimal": "bytes", "timestamp-micros": "long"}
FACT_FIELDS = ("event_id", "occurred_at")
MOST_DIGITS = 18  # what a 64-bit integer of minor units holds for certain
KAFKA_TIME = "kafka_time"  # a rule's name for the time that the broker gave the record


def check_avsc(avro: Any, topic: str, file: str) -> None:
    """Raise ContractError, naming `file` and the field, for what cannot be a contract."""
    if not isinstance(avro, dict) or avro.get("type") != "record" or not isinstance(avro.get("fields"), list):
        raise ContractError(f'{file}: expected an Avro record schema: {{"type": "record", "fields": […], …}}')
    for name in ("dataflow.key", "dataflow.entity_id", "dataflow.topic"):
        if not isinstance(avro.get(name, ""), str):
            raise ContractError(f'{file}: expected "{name}" to be text, saw {avro[name]!r}')
    if avro.get("dataflow.topic", topic) != topic:
        raise ContractError(
            f'{file}: expected "dataflow.topic" to be {topic!r}, as the file is named, saw {avro["dataflow.topic"]!r}'
        )
    fields: dict[str, Mapping[str, Any]] = {}
    for spec in avro["fields"]:
        name = spec.get("name") if isinstance(spec, dict) else None
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == KAFKA_TIME or "type" not in spec:
            raise ContractError(
                f"{file}: expected fields with a type and a name of lower-case letters, digits and '_' other than "
                f"{KAFKA_TIME}, saw {spec}"
            )
        if name in SQL_WORDS:
            raise ContractError(
                f"{file}: expected names of fields that SQL does not keep for itself, saw {name!r}; call it otherwise, "
                f"such as {name}_"
            )
        if name in fields:
            raise ContractError(f"{file}: expected each field once, saw {name} twice")
        fields[name] = spec
    try:
        fastavro.parse_schema(dict(avro))
    except Exception as error:  # fastavro has several kinds without a common root
        raise ContractError(
            f"{file}: expected an Avro schema, saw one that fastavro refuses: {type(error).__name__}: {one_line(error)}"
        ) from error
    for role in ("dataflow.key", "dataflow.entity_id"):
        if avro.get(role) not in fields:
            raise ContractError(f'{file}: "{role}" must name one of the fields, saw {avro.get(role)!r}')
    needed = CHANGE_FIELDS if "version" in fields else FACT_FIELDS
    missing = [name for name in needed if name not in fields]
    if missing:
        kind = "a change event (it has a version)" if "version" in fields else "a fact (it has no version)"
        raise ContractError(f"{file}: {kind} needs the fields {', '.join(needed)}; missing {missing}")
    if "version" not in fields and avro["dataflow.entity_id"] != "event_id":
        raise ContractError(
            f'{file}: expected "dataflow.entity_id" to be event_id, by which each fact (it has no version) '
            f"counts once, saw {avro['dataflow.entity_id']!r}"
        )
    wanted = {avro["dataflow.key"]: "string", avro["dataflow.entity_id"]: "string"}
    wanted |= {name: TYPES[name] for name in needed}
    for name, kind in wanted.items():
        seen = _kind(fields[name])
        if seen != kind or fields[name].get("pii"):
            saw = "personal data (pii)" if seen == kind else _kind(fields[name]) or fields[name]["type"]
            raise ContractError(
                f"{file}: {name}: expected a {kind} that every event has and that is not personal data, saw {saw}"
            )
    for spec in fields.values():
        _check_value(spec, file)


def _check_value(spec: Mapping[str, Any], file: str) -> None:
    """Decimals and defaults that mean the same everywhere."""
    kind = spec["type"][-1] if isinstance(spec["type"], list) and spec["type"] else spec["type"]
    logical = kind.get("logicalType") if isinstance(kind, dict) else None
    if logical in BASES and kind["type"] != BASES[logical]:
        raise ContractError(
            f"{file}: {spec['name']}: expected {BASES[logical]} for a {logical}, saw {kind['type']!r}"
        )
    if logical == "decimal":
        precision, scale = kind.get("precision"), kind.get("scale", 0)
        if not isinstance(precision, int) or not 0 <= scale <= precision <= MOST_DIGITS:
            raise ContractError(
                f"{file}: {spec['name']}: expected a decimal of at most {MOST_DIGITS} digits, saw precision "
                f"{precision}, scale {scale}"
            )
    default = spec.get("default")
    if default is not None and (
        logical == "timestamp-micros" or (logical == "decimal" and str(default).strip("\0"))
    ):
        raise ContractError(
            f'{file}: {spec["name"]}: expected no default (a decimal may have 0, as "\\u0000"), saw {default!r}'
        )


def _kind(spec: Mapping[str, Any]) -> str | None:
    """The field's type by name; None for one that is optional or nested."""
    kind = spec["type"]
    if isinstance(kind, dict):
        return kind.get("logicalType")
    return kind if isinstance(kind, str) else None

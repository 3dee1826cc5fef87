"""The ingest: its documents, derived from the contracts of the topics, and its answers. Pure."""

from typing import Any

from schemas.contract import CONTRACTS, Contract, Field
from serving.api.openapi.parts import (
    AS_OF,
    AUTH,
    BOOLEAN,
    STRING,
    TIME,
    WHOLE,
    Schema,
    answers,
    objects,
    or_null,
    problem,
)


def event_schema(contract: Contract) -> Schema:
    """A document of the ingest: what the ingest fills in is not required."""
    filled = {"event_id", "occurred_at"} | ({"op", "version", "source"} if contract.is_change else set())
    required = [name for name, field in contract.fields.items() if field.required and name not in filled]
    return {
        "type": "object",
        "description": contract.doc,
        "properties": {name: _field(field) for name, field in contract.fields.items()},
        "required": required,
        "additionalProperties": False,
    }


def _field(field: Field) -> Schema:
    a = field.attributes
    match field.type:
        case "decimal":
            schema: Schema = {"anyOf": [{"type": "string", "pattern": _pattern(field)}, {"type": "number"}]}
        case "timestamp":
            schema = dict(TIME)
        case "int" | "long":
            schema = dict(WHOLE)
        case _:
            schema = dict(STRING)
    if "one_of" in a:
        schema["enum"] = list(a["one_of"])
    if a.get("format") in ("uuid", "email"):
        schema["format"] = a["format"]
    if field.type == "string" and "max_length" in a:
        schema["maxLength"] = a["max_length"]
    if field.type in ("int", "long"):
        schema |= {name: a[name] for name in ("minimum", "maximum") if name in a}
    schema = or_null(schema) if field.nullable else schema
    return {**schema, "description": field.doc + (" Personal data." if field.pii else "")}


def _pattern(field: Field) -> str:
    """A decimal as text. Without a digit before the point, as of one that has none there, it is no number in JSON."""
    whole, fraction = field.precision - field.scale, field.scale
    before = f"[0-9]{{1,{whole}}}" if whole else "0"
    return f"^-?{before}" + (rf"(\.[0-9]{{1,{fraction}}})?$" if fraction else "$")


def event_body(topic: str) -> dict[str, Any]:
    schema = event_schema(CONTRACTS[topic])
    content = {"application/json": {"schema": schema}, "application/x-ndjson": {"schema": STRING}}
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {**STRING, "minLength": 1, "maxLength": 255},
        "description": "Events without an event_id get one from it and their line: a retry counts once.",
    }
    return {"parameters": [key], "requestBody": {"required": True, "content": content}}


_ERRORS = {"type": "array", "items": objects({"rule": STRING, "reason": STRING})}
_PLACE = {"topic": STRING, "partition": WHOLE, "offset": WHOLE, "event_id": STRING, "version": WHOLE}
_LINE: Schema = {
    "type": "object",
    "properties": {
        "line": WHOLE,
        "status": {"enum": ["accepted", "refused", "failed"]},
        **_PLACE,
        "errors": _ERRORS,
        "retryable": BOOLEAN,
        "reason": STRING,
    },
    "required": ["line", "status"],
}
_COUNTED = {
    "as_of": {**or_null(AS_OF), "description": "What is counted so far, null while it cannot be read."}
}
_MANY = objects(
    {
        "topic": STRING,
        **dict.fromkeys(("accepted", "refused", "failed"), WHOLE),
        "results": {"type": "array", "items": _LINE},
        **_COUNTED,
    }
)
_ONE: Schema = {
    "type": "object",
    "properties": {"status": {"const": "accepted"}, **_PLACE, **_COUNTED},
    "required": ["status", "topic", "partition", "offset", "event_id", "as_of"],
}

EVENTS: dict[int | str, Any] = {
    202: answers({"anyOf": [_ONE, _MANY]}, "The broker has it: of many lines, at least one."),
    400: problem("A parameter, or an Idempotency-Key that is none."),
    404: problem("No such topic."),
    413: problem("The body, or the number of lines, is too large."),
    415: problem("Neither JSON nor NDJSON in UTF-8."),
    422: problem("Nothing was accepted; `errors` or `results` say why."),
    **AUTH,
    503: problem(
        "Nobody knows whether the broker has it. Sent again with the `event_id` of this answer, or with the same "
        "Idempotency-Key, it counts once; without either it would be another event."
    ),
}

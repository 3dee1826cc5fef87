"""What the descriptions of all routes are made of: schemas, answers, problems. Pure."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
WHOLE: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
MONEY: Schema = {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{2}$"}
UNITS: dict[str, Schema] = {"money": MONEY, "count": WHOLE, "ratio": {"type": "number"}}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def objects(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


AS_OF = {
    **objects(
        {
            "generation": STRING,
            "position": {**WHOLE, "description": "Sum of the offsets; within a generation it only grows."},
            "event_time": or_null(TIME),
            "age_ms": or_null(WHOLE),
            "offsets": {
                "type": "object",
                "description": "Topic → partition → next offset: every record below it is counted.",
                "additionalProperties": {"type": "object", "additionalProperties": WHOLE},
            },
        }
    ),
    "description": "What the answer is a function of.",
}
PROBLEM = objects(
    {"type": STRING, "title": STRING, "status": WHOLE, "detail": STRING, "instance": STRING},
)


def answers(schema: Schema, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def link(path: str, description: str, **parameters: str) -> dict[str, Any]:
    """What of an answer may be asked for next: GET of a path, with parameters found in the question and its answer."""
    pointer = path.replace("~", "~0").replace("/", "~1")
    return {"operationRef": f"#/paths/{pointer}/get", "parameters": parameters, "description": description}


def problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": PROBLEM}}}


UNAVAILABLE = {503: problem("Rebuilding, or a service does not answer: try again, see Retry-After.")}
# What stands before every route but the open ones.
AUTH = {
    401: problem("No valid key."),
    403: problem("The key lacks the scope."),
    429: problem("Too many requests: see Retry-After."),
}

"""The records that were counted last: question and answer. Pure."""

from typing import Any

from schemas.contract import CONTRACTS
from serving.api.openapi.parts import (
    AS_OF,
    AUTH,
    STRING,
    TIME,
    UNAVAILABLE,
    WHOLE,
    Schema,
    answers,
    objects,
    or_null,
    problem,
)
from serving.fold.newest import KEPT
from serving.store.keys import VERDICTS

_EVENT: dict[str, Schema] = {
    "topic": STRING,
    "partition": WHOLE,
    "offset": WHOLE,
    "verdict": {"enum": [verdict for verdict in VERDICTS if verdict != "empty"]},
    "reasons": {"type": "array", "items": STRING, "description": "Why it was refused."},
    "entity_id": {
        **or_null(STRING),
        "description": "Of a refused record its key: *** where that may hold personal data, null where it has none.",
    },
    "op": or_null(STRING),
    "status": {**or_null(STRING), "description": "Where the entity stands, or the kind of event."},
    "amount": {**or_null(STRING), "description": "The event's first amount of money."},
    "occurred_at": or_null(TIME),
    "kafka_time": TIME,
}
NEWEST: dict[int | str, Any] = {
    200: answers(
        objects({"events": {"type": "array", "items": objects(_EVENT)}, "as_of": AS_OF}),
        "The records counted last, newest first, none between them missing.",
    ),
    400: problem("A parameter is wrong; `errors` name it."),
    **AUTH,
    **UNAVAILABLE,
}


def _parameter(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


NEWEST_PARAMETERS = {
    "parameters": [
        _parameter("topic", {**STRING, "enum": list(CONTRACTS), "description": "Of this topic only."}),
        _parameter("limit", {**WHOLE, "minimum": 1, "maximum": KEPT, "default": 20}),
    ]
}

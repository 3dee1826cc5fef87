"""The state of everything, and push. Pure."""

from collections.abc import Mapping
from typing import Any

from serving.api.openapi.parts import (
    AS_OF,
    AUTH,
    BOOLEAN,
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


def state_answer(properties: Mapping[str, Schema], description: str) -> dict[int | str, Any]:
    return {200: answers(objects({**properties, "as_of": AS_OF}), description), **AUTH, **UNAVAILABLE}


OBJECT: Schema = {"type": "object"}
VERIFIED: Schema = objects(
    {
        "exact": or_null(BOOLEAN),
        "at": TIME,
        "age_ms": WHOLE,
        "detail": or_null(STRING),
        "manifest": or_null(WHOLE),
        "records": WHOLE,
        "at_barrier": BOOLEAN,
        "live": BOOLEAN,
        "whole_at": or_null(TIME),
        "rows": WHOLE,
        "differences": {"type": "array", "items": OBJECT},
    }
)
EXPOSITION: dict[int | str, Any] = {
    200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": STRING}}},
    **AUTH,
}
STATUS: dict[int | str, Any] = {
    200: answers(
        objects(
            {
                "env": STRING,
                "generation": or_null(STRING),
                "state": {"enum": ["live", "rebuilding", "starting", "unavailable"]},
                "detail": or_null(STRING),
                "freshness": or_null(OBJECT),
                "lag": or_null(OBJECT),
                "exactness": or_null(OBJECT),
                "verified": or_null(VERIFIED),
                "live": OBJECT,
                "as_of": or_null(AS_OF),
            }
        ),
        "Always, whatever the state.",
    ),
    **AUTH,
}
_ROWS = {"type": "array", "items": OBJECT}
FRESHNESS = state_answer(
    {"freshness_ms": or_null(WHOLE), "newest_event_time": or_null(TIME), "newest_record_time": or_null(TIME)},
    "How long ago the broker took the newest counted record while others wait, else 0.",
)
LAG = state_answer(
    {
        "records_behind": WHOLE,
        "by_topic": OBJECT,
        "stale": BOOLEAN,
        "log_ends_age_ms": or_null(WHOLE),
        "partitions": _ROWS,
    },
    "Per source partition: the log's end, the next offset to count, and what lies between.",
)
EXACTNESS = state_answer(
    {
        "exact": BOOLEAN,
        "offsets": WHOLE,
        "counts": OBJECT,
        "held": OBJECT,
        "partitions": _ROWS,
        "verified": or_null(VERIFIED),
    },
    "Per source partition: every offset from the base to the next one has exactly one verdict. `verified`: what a "
    "second computation found last, of the lake's tables and the live numbers; null before its first round.",
)
KEY: dict[int | str, Any] = {
    200: answers(
        objects(
            {
                "name": or_null(STRING),
                "scopes": {"type": "array", "items": {"enum": ["read", "write", "admin"]}},
            }
        ),
        "What the key may do; `name` is null where no keys are configured.",
    ),
    **AUTH,
}
# Of each event of the stream.
_PUSHED: Schema = {
    "type": "object",
    "properties": {
        "event": {
            "type": "string",
            "enum": ["snapshot", "state", "events", "dead_letters", "verified"],
        },
        "id": {**STRING, "description": "Of a snapshot: for Last-Event-ID."},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
LIVE: dict[int | str, Any] = {
    200: {
        "description": "`snapshot`: all live numbers, absolute, with an id; `state`: live, rebuilding or unavailable; "
        "`events`: the records counted last, as /v1/events/newest has them; `dead_letters`: how many there are, and "
        "up to which offsets of their topics; `verified`: what a second computation found last, as /v1/status has it.",
        "content": {"text/event-stream": {"schema": _PUSHED}},
    },
    **AUTH,
    503: problem("No place for another client."),
}
LIVE_PARAMETERS = {
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "schema": STRING,
            "description": "The id seen last: nothing older is sent.",
        }
    ]
}

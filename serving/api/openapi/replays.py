"""Replays: the generations, plans, and what is changed. Pure."""

from typing import Any

from serving.api.openapi.parts import (
    AUTH,
    BOOLEAN,
    STRING,
    UNAVAILABLE,
    WHOLE,
    Schema,
    answers,
    objects,
    or_null,
    problem,
)

_NUMBER: Schema = {"type": "number"}
_NAMES: Schema = {"type": "array", "items": STRING}
_ANY: Schema = {"type": "object"}
_DAYS: Schema = {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.\.[0-9]{4}-[0-9]{2}-[0-9]{2})?$",
    "examples": ["2026-03-01..2026-03-07"],
}
_MEANT = (
    "Only rows of this day, or of the first to the last, are meant to differ: a promote of others is refused."
)
_BEGINNINGS: Schema = {
    "type": "array",
    "items": {
        "type": "string",
        "pattern": r"^([0-9]{4}-[0-9][0-9T:.+-]{1,40}Z?|[0-9]{1,9}[smhd]|[a-z][a-z0-9_]{0,99}/[0-9]{1,6}:[0-9]{1,18})$",
        "examples": ["2026-03-01T08:00Z", "orders/0:1200"],
    },
}
_TRIAL = (
    "A trial, of what the broker took from this time on, or of partitions from an offset on; never promoted."
)
_TOPICS = "A trial, of these source topics; of others only what is new."
_GENERATION = objects(
    {
        "generation": STRING,
        "live": BOOLEAN,
        "before": {**BOOLEAN, "description": "What a rollback goes back to."},
        "state": {"type": "string", "enum": ["running", "paused", "gone"]},
        "since": {**_NUMBER, "description": "When it was recorded, in seconds since 1970."},
        "code": {**or_null(STRING), "description": "Digest of the copy of the code that it runs by."},
        "changed": {
            **_NAMES,
            "description": "What decides otherwise than in the live one's code, when it began.",
        },
        "affects": {"type": "object", "additionalProperties": _NAMES},
        "throttle": {**or_null(WHOLE), "description": "Records a second until it has caught up; 0 for none."},
        "days": {
            **or_null(_NAMES),
            "description": "The first and the last day whose rows are meant to differ.",
        },
        "trial": {**BOOLEAN, "description": "It has some records only, so it cannot be promoted."},
        "progress": or_null(
            objects(
                {
                    "records": WHOLE,
                    "numbers_behind": WHOLE,
                    "lake_behind": WHOLE,
                    "manifest": or_null(WHOLE),
                    "filled": {
                        **or_null(WHOLE),
                        "description": "Rows of its lake that are in Redis and do not count yet.",
                    },
                    "records_per_s": {
                        **or_null(_NUMBER),
                        "description": "Of the slower of lake and numbers, in the last minute or since the look "
                        "before; null at the first one.",
                    },
                    "seconds_to_go": {
                        **or_null(WHOLE),
                        "description": "Until it is as far as the topics; null where it comes no nearer.",
                    },
                }
            )
        ),
        "verified": or_null(_ANY),
        "detail": or_null(STRING),
    }
)
_WRONG = {400: problem("The request is not understood.")}
_REFUSED = {409: problem("It cannot be done now: the detail says why, and what to do.")}
_BODY = {
    413: problem("The body is too large."),
    415: problem("The body is not JSON in UTF-8."),
}
_UNKNOWN = {404: problem("There is no such generation, or act.")}
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "examples": ["g2"]}}
_CHANGED = objects({"live": STRING, "before": or_null(STRING)})

REPLAYS: dict[int | str, Any] = {
    200: answers(
        objects(
            {
                "live": or_null(STRING),
                "before": or_null(STRING),
                "generations": {"type": "array", "items": _GENERATION},
            }
        ),
        "All generations.",
    ),
    **_WRONG,
    **AUTH,
    **UNAVAILABLE,
}
REPLAY: dict[int | str, Any] = {
    200: answers(_GENERATION, "One generation."),
    **_WRONG,
    **AUTH,
    **_UNKNOWN,
    **UNAVAILABLE,
}
REPLAY_NAME = {"parameters": [_NAME]}
REPLAY_PLAN: dict[int | str, Any] = {
    200: answers(_ANY, "The plan: what changes, what that affects, what is read from where, time and room."),
    **_WRONG,
    **AUTH,
    **_REFUSED,
    **UNAVAILABLE,
}
REPLAY_PLAN_PARAMETERS = {
    "parameters": [
        {
            "name": "throttle",
            "in": "query",
            "required": False,
            "schema": {**WHOLE, "minimum": 0, "maximum": 10_000_000, "default": 2_000},
        },
        {"name": "lake_first", "in": "query", "required": False, "schema": BOOLEAN},
        {"name": "days", "in": "query", "required": False, "schema": _DAYS, "description": _MEANT},
        {"name": "from", "in": "query", "required": False, "schema": _BEGINNINGS, "description": _TRIAL},
        {"name": "topic", "in": "query", "required": False, "schema": _NAMES, "description": _TOPICS},
        *(
            {
                "name": each,
                "in": "query",
                "required": False,
                "schema": _NAMES,
                "description": f"Only this {each}, out of the live generation's lake; several may be named.",
            }
            for each in ("table", "metric")
        ),
    ]
}
REPLAY_RUN: dict[int | str, Any] = {
    202: answers(objects({"plan": _ANY, "progress": _ANY}), "It has begun; Location says where it is told."),
    **_WRONG,
    **AUTH,
    **_REFUSED,
    **_BODY,
    **UNAVAILABLE,
}
REPLAY_DIFF: dict[int | str, Any] = {
    200: answers(_ANY, "Tables and metrics, and how their rows differ."),
    **_WRONG,
    **AUTH,
    **_UNKNOWN,
    **_REFUSED,
    **UNAVAILABLE,
}
REPLAY_SWITCH: dict[int | str, Any] = {
    200: answers(_CHANGED, "Which generation is live now."),
    **_WRONG,
    **AUTH,
    **_UNKNOWN,
    **_REFUSED,
    **_BODY,
    **UNAVAILABLE,
}
REPLAY_ACT: dict[int | str, Any] = {
    200: answers(_ANY, "What was done."),
    **_WRONG,
    **AUTH,
    **_UNKNOWN,
    **_REFUSED,
    **_BODY,
    **UNAVAILABLE,
}


def _body(properties: dict[str, Schema]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {name: or_null(each) for name, each in properties.items()},
        "additionalProperties": False,
    }
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}


_PAUSE: Schema = {**BOOLEAN, "description": "The generation that was live stands still."}
REPLAY_RUN_BODY = _body(
    {
        "throttle": {
            **WHOLE,
            "minimum": 0,
            "maximum": 10_000_000,
            "description": "Records a second, 0 for none.",
        },
        "lake_first": {**BOOLEAN, "description": "The live numbers are filled out of its lake."},
        "tables": {**_NAMES, "description": "Only these tables, out of the live generation's silver."},
        "metrics": {**_NAMES, "description": "Only these metrics, out of the live generation's lake."},
        "days": {**_DAYS, "description": _MEANT},
        "from": {**_BEGINNINGS, "description": _TRIAL},
        "topics": {**_NAMES, "description": _TOPICS},
        "planned": {
            "type": "string",
            "pattern": "^g[1-9][0-9]{0,8}-g[1-9][0-9]{0,8}-[0-9a-f]{16}$",
            "description": "Only if it still is what was planned: `planned` of the plan that somebody has looked at.",
        },
    }
)
REPLAY_PROMOTE_BODY = {
    **_body(
        {
            "pause_old": _PAUSE,
            "max_difference": {**_NUMBER, "minimum": 0, "maximum": 1},
            "unexpected": BOOLEAN,
            "undiffed": BOOLEAN,
            "unverified": BOOLEAN,
        }
    ),
    "parameters": [_NAME],
}
REPLAY_ROLLBACK_BODY = _body(
    {
        "pause_old": _PAUSE,
        "patience": {**_NUMBER, "minimum": 0, "maximum": 3_600},
        "leaving": {
            "type": "string",
            "pattern": "^g[1-9][0-9]{0,8}$",
            "description": "Only if this generation is live: a request that is sent again then changes nothing more.",
        },
        "although_wrong": {
            "type": "boolean",
            "description": "Also to one whose second computation differs: what it serves is known to be wrong.",
        },
    }
)
REPLAY_ACT_PARAMETERS = {
    **_body({}),
    "parameters": [
        _NAME,
        {
            "name": "act",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "enum": ["pause", "resume", "cancel"]},
        },
    ],
}

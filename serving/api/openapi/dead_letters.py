"""Dead letters: the questions, the answers and the re-drive. Pure."""

from typing import Any

from serving.api.letters.asked import LIMIT, LIMIT_AT_MOST
from serving.api.openapi.parts import (
    AS_OF,
    AUTH,
    BOOLEAN,
    STRING,
    TIME,
    WHOLE,
    Schema,
    answers,
    link,
    objects,
    or_null,
    problem,
)
from serving.dead_letters import PARTITION_AT_MOST

OFFSETS: Schema = {"type": "string", "pattern": r"^[0-9]{1,18}(-[0-9]{1,18})?$", "examples": ["17-99"]}
_WHEN = "A time with its zone, or a day in the shop's time zone: RFC 3339."
FILTERS: dict[str, Schema] = {
    "topic": {
        **STRING,
        "description": "A source topic; `import`: lines of files; `import:NAME`: by one mapping.",
    },
    "reason": {**STRING, "description": "Refused for this reason, alone or among others."},
    "since": {**STRING, "description": f"Taken by the broker at or after it. {_WHEN}"},
    "until": {**STRING, "description": f"Taken by the broker before it. {_WHEN}"},
    "partition": {**WHOLE, "minimum": 0, "maximum": PARTITION_AT_MOST, "description": "Of the source topic."},
    "offsets": {
        **OFFSETS,
        "description": "Of the source partition, first and last; needs topic and partition.",
    },
}


def parameter(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


_FILTERS = [parameter(name, schema) for name, schema in FILTERS.items()]
LETTER_FILTERS = {"parameters": _FILTERS}
LETTERS_PARAMETERS = {
    "parameters": [
        *_FILTERS,
        parameter("limit", {**WHOLE, "minimum": 1, "maximum": LIMIT_AT_MOST, "default": LIMIT}),
        parameter("cursor", {**STRING, "description": "`next` of the page before."}),
    ]
}
LETTER_PARAMETERS = {
    "parameters": [
        {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": STRING,
            "description": "topic/partition/offset, slashes and all, or file:line.",
        },
        parameter(
            "bytes",
            {
                **BOOLEAN,
                "description": "With the original bytes, also what the letter does not keep; scope admin.",
            },
        ),
    ]
}

_AS_OF = {"as_of": {**or_null(AS_OF), "description": "What is counted so far, null while it cannot be read."}}
_PLACE: dict[str, Schema] = {
    "source_partition": or_null(WHOLE),
    "source_offset": or_null(WHOLE),
    "file": or_null(STRING),
    "line": or_null(WHOLE),
}
_FACTS: dict[str, Schema] = {
    "id": STRING,
    "source_topic": STRING,
    "kafka_time": or_null(TIME),
    "refused_at": TIME,
    "detail": or_null(STRING),
    "generation": or_null(STRING),
    "size": WHOLE,
    "truncated": BOOLEAN,
    "null_value": BOOLEAN,
    "dead_letter": objects({"topic": STRING, "partition": WHOLE, "offset": WHOLE}),
}

_GENERATION = {**STRING, "description": "Whose letters these are; those of imports are with each."}
_REDRIVEN = {**BOOLEAN, "description": "Whether its record was put back."}


def _letter(more: dict[str, Schema]) -> Schema:
    required = [*_FACTS, *more]
    return {"type": "object", "properties": {**_FACTS, **_PLACE, **more}, "required": required}


_CONTENT = objects(
    {
        "schema": or_null(objects({"topic": STRING, "version": WHOLE, "id": WHOLE})),
        "fields": {"type": "object"},
        "masked": {"type": "array", "items": STRING},
        "problems": {"type": "array", "items": STRING},
    }
)
_WRONG = {400: problem("The question is wrong; `errors` name the parameters.")}
_SLOW = {
    503: problem(
        "Too many ask, or a service does not answer, or the letters could not be read to their end in time: "
        "try again, see Retry-After."
    )
}

LETTERS: dict[int | str, Any] = {
    200: {
        **answers(
            objects(
                {
                    "generation": _GENERATION,
                    "letters": {
                        "type": "array",
                        "items": _letter(
                            {"reasons": {"type": "array", "items": STRING}, "redriven": _REDRIVEN}
                        ),
                    },
                    "next": or_null(STRING),
                    **_AS_OF,
                }
            ),
            "The newest that are wanted.",
        ),
        "links": {
            "letter": link("/v1/dead-letters/{id}", "One of them, whole.", id="$response.body#/letters/0/id"),
            "next": link("/v1/dead-letters", "Those before them.", cursor="$response.body#/next"),
        },
    },
    **_WRONG,
    **AUTH,
    410: problem("The cursor is of a generation that is no longer served."),
    **_SLOW,
}
LETTER_SUMMARY: dict[int | str, Any] = {
    200: answers(
        objects(
            {
                "generation": _GENERATION,
                "letters": WHOLE,
                "summary": {
                    "type": "array",
                    "items": objects(
                        {
                            "source_topic": STRING,
                            "reason": STRING,
                            "letters": WHOLE,
                            "description": or_null(STRING),
                        }
                    ),
                },
                **_AS_OF,
            }
        ),
        "How many there are.",
    ),
    **_WRONG,
    **AUTH,
    **_SLOW,
}
LETTER: dict[int | str, Any] = {
    200: answers(
        _letter(
            {
                "reasons": {
                    "type": "array",
                    "items": objects({"rule": STRING, "description": or_null(STRING)}),
                },
                "key": or_null(STRING),
                "headers": {
                    "type": "array",
                    "items": objects({"name": STRING, "value": or_null(STRING)}),
                    "description": "The record's own, in their order; `***` where they may hold personal data.",
                },
                "redriven": _REDRIVEN,
                "copies": WHOLE,
                "content": or_null(_CONTENT),
                "bytes": objects({"kept": WHOLE, "shown": WHOLE, "hex": STRING}),
                **_AS_OF,
            }
        ),
        "All that is known of it.",
    ),
    **_WRONG,
    **AUTH,
    404: problem("No dead letter has this id."),
    **_SLOW,
}

_COUNTS = {"type": "object", "additionalProperties": WHOLE}
REDRIVE: dict[int | str, Any] = {
    200: answers(
        objects(
            {
                "wanted": WHOLE,
                "ready": WHOLE,
                "ready_by_topic": _COUNTS,
                "left": {**_COUNTS, "description": "What is not put back, by why."},
                "still_refused": {
                    "type": "array",
                    "items": objects({"topic": STRING, "reason": STRING, "letters": WHOLE}),
                },
                "redriven": WHOLE,
                "dry_run": BOOLEAN,
                **_AS_OF,
            }
        ),
        "What there was to put back, and how many records were.",
    ),
    **_WRONG,
    **AUTH,
    409: problem("One re-drive at a time; or another number would go back than was `counted`."),
    413: problem("The body is too large."),
    415: problem("The body is not JSON in UTF-8."),
    503: problem("It stopped; what was put back stays so, and the next one goes on behind it."),
}
REDRIVE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        **{name: or_null(schema) for name, schema in FILTERS.items()},
                        "all": {
                            **or_null(BOOLEAN),
                            "default": False,
                            "description": "Also records that would be refused again.",
                        },
                        "dry_run": {**or_null(BOOLEAN), "default": True, "description": "Only count."},
                        "counted": {
                            **or_null({**WHOLE, "minimum": 0, "maximum": 2**63 - 1}),
                            "description": "`ready` of a dry run: nothing goes back if it is another number by now.",
                        },
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}

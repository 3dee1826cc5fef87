"""The state of everything, and push. Pure."""

from collections.abc import Mapping
from typing import Any

from schemas.metric import AnyMetric
from schemas.metrics import METRICS
from serving.api.openapi.parts import (
    AS_OF,
    AUTH,
    BOOLEAN,
    STRING,
    TIME,
    UNAVAILABLE,
    UNITS,
    WHOLE,
    Schema,
    answers,
    objects,
    or_null,
    problem,
)
from serving.store.keys import VERDICTS


def state_answer(properties: Mapping[str, Schema], description: str) -> dict[int | str, Any]:
    return {200: answers(objects({**properties, "as_of": AS_OF}), description), **AUTH, **UNAVAILABLE}


def by_name(values: Schema, description: str) -> Schema:
    return {"type": "object", "additionalProperties": values, "description": description}


def _each(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "array", "items": objects(properties)}


_PLACE = {"topic": STRING, "partition": WHOLE}
_COUNTS = objects(dict.fromkeys(VERDICTS, WHOLE))
_FRESHNESS = {
    "freshness_ms": or_null(WHOLE),
    "newest_event_time": or_null(TIME),
    "newest_record_time": or_null(TIME),
}
_LAG = {
    "records_behind": WHOLE,
    "by_topic": by_name(WHOLE, "Topic → records that wait."),
    "stale": {**BOOLEAN, "description": "The broker has not said for a while where its topics end."},
    "log_ends_age_ms": or_null(WHOLE),
}
_EXACTNESS = {
    "exact": BOOLEAN,
    "offsets": {
        **WHOLE,
        "description": "Offsets from the bases to the next ones: what the counts add up to.",
    },
    "counts": _COUNTS,
    "held": by_name(STRING, "topic/partition → why it waits for somebody to look."),
}
_DIFFERENCE = {
    "table": STRING,
    **dict.fromkeys(("rows", "expected", "missing", "unexpected"), WHOLE),
}
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
        "differences": _each(_DIFFERENCE),
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
                "freshness": or_null(objects(_FRESHNESS)),
                "lag": or_null(objects(_LAG)),
                "exactness": or_null(objects(_EXACTNESS)),
                "verified": or_null(VERIFIED),
                "live": objects({"clients": WHOLE, "snapshots": WHOLE}),
                "as_of": or_null(AS_OF),
            }
        ),
        "Always, whatever the state.",
    ),
    **AUTH,
}
FRESHNESS = state_answer(
    _FRESHNESS,
    "How long ago the broker took the newest counted record while others wait, else 0.",
)
LAG = state_answer(
    {
        **_LAG,
        "partitions": _each(
            {**_PLACE, "log_end": or_null(WHOLE), "next_offset": WHOLE, "records_behind": or_null(WHOLE)}
        ),
    },
    "Per source partition: the log's end, the next offset to count, and what lies between.",
)
EXACTNESS = state_answer(
    {
        **_EXACTNESS,
        "partitions": _each(
            {
                **_PLACE,
                "base": WHOLE,
                "next_offset": WHOLE,
                "counts": _COUNTS,
                "held": or_null(STRING),
                "exact": BOOLEAN,
            }
        ),
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


def _rows_of(metric: AnyMetric, *names: str) -> Schema:
    """Figures of a metric that are pushed by a dimension or a minute; a dimension may be null."""
    units = {f.name: UNITS[f.unit] for f in (*metric.measures, *getattr(metric, "derived", ()))}
    return _each({name: units[name] if name in units else or_null(STRING) for name in names})


def _figures_of(metric: AnyMetric) -> Schema:
    declared = (*metric.measures, *getattr(metric, "derived", ()))
    return objects({f.name: or_null(UNITS[f.unit]) for f in declared})


SNAPSHOT: Schema = objects(
    {
        "currency": STRING,
        "time_zone": STRING,
        "revenue": _figures_of(METRICS["revenue"]),
        "revenue_by_minute": _rows_of(METRICS["revenue"], "start", "gross", "net", "orders"),
        "revenue_by_country": _rows_of(METRICS["revenue"], "shipping_country", "gross", "net", "orders"),
        "items": _figures_of(METRICS["items"]),
        "top_products": _each(
            {
                **dict.fromkeys(("product_id", "name", "category"), or_null(STRING)),
                "revenue": UNITS["money"],
                "units": WHOLE,
            }
        ),
        "items_by_category": _rows_of(METRICS["items"], "category", "revenue", "units"),
        **{name: _figures_of(METRICS[name]) for name in ("funnel", "payments", "customers", "active")},
        "events": _each(
            {"topic": STRING, "records": WHOLE, "refused": WHOLE, "error_rate": or_null(UNITS["ratio"])}
        ),
        "more_metrics": _each(
            {
                "name": STRING,
                "doc": STRING,
                "figures": _each(
                    {
                        "name": STRING,
                        "doc": STRING,
                        "unit": STRING,
                        "value": {"type": ["string", "number", "null"]},
                    }
                ),
            }
        ),
        "newest_by_topic": by_name(TIME, "Topic → its newest event time."),
        "freshness": objects(_FRESHNESS),
        "lag": objects(_LAG),
        "exactness": objects(_EXACTNESS),
        "as_of": AS_OF,
    }
)
# Of each event of the stream.
_DATA: Schema = {"type": "string", "contentMediaType": "application/json"}
_EVENT_ID: Schema = {**STRING, "description": "For Last-Event-ID."}
_PUSHED: Schema = {
    "type": "object",
    "oneOf": [
        {
            "properties": {
                "event": {"const": "snapshot"},
                "id": _EVENT_ID,
                "data": {**_DATA, "contentSchema": SNAPSHOT},
            },
            "required": ["event", "id", "data"],
        },
        {
            "properties": {"event": {"enum": ["state", "events", "dead_letters", "verified"]}, "data": _DATA},
            "required": ["event", "data"],
        },
    ],
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

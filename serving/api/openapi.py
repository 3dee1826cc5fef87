"""What OpenAPI says about each route, derived from the declarations of metrics and contracts. Pure."""

from collections.abc import Mapping
from typing import Any

from schemas.contract import CONTRACTS, Contract, Field
from schemas.metric import AnyMetric
from serving.api.parameters import DEFAULT_BUCKETS, ROWS_AT_MOST, TOP_AT_MOST
from serving.read.query import dimensions_of, figures_of, grains_of

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


def problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": PROBLEM}}}


UNAVAILABLE = {503: problem("Rebuilding, or a service does not answer: try again, see Retry-After.")}
AUTH = {401: problem("No valid key."), 403: problem("The key lacks the scope.")}

CATALOGUE: dict[int | str, Any] = {
    200: answers(
        objects(
            {
                "metrics": {
                    "type": "array",
                    "items": objects(
                        {
                            "name": STRING,
                            "doc": STRING,
                            "href": STRING,
                            "grains": {"type": "array", "items": STRING},
                            "dimensions": {"type": "array", "items": STRING},
                            "rollups": {
                                "type": "array",
                                "items": objects({"name": STRING, "through": STRING}),
                            },
                            "figures": {
                                "type": "array",
                                "items": objects({"name": STRING, "unit": STRING, "doc": STRING}),
                            },
                        }
                    ),
                }
            }
        ),
        "All metrics.",
    ),
    **AUTH,
}


def rows_responses(metric: AnyMetric) -> dict[int | str, Any]:
    docs = {m.name: m.doc for m in (*metric.measures, *getattr(metric, "derived", ()))}
    figures = {
        # A quotient is null where there is nothing to divide by.
        name: {
            **(UNITS[unit] if name in _measures(metric) else or_null(UNITS[unit])),
            "description": docs[name],
        }
        for name, unit in figures_of(metric).items()
    }
    row = objects(figures)
    row["properties"] = {
        "start": {**TIME, "description": "Start of the bucket; not with grain `all`."},
        **{name: or_null(STRING) for name in dimensions_of(metric)},
        **row["properties"],
    }
    body = objects(
        {
            "metric": {"const": metric.name},
            "grain": {"enum": list(grains_of(metric))},
            "currency": STRING,
            "time_zone": STRING,
            "from": or_null(TIME),
            "to": or_null(TIME),
            "rows": {"type": "array", "items": row},
            "as_of": AS_OF,
        }
    )
    return {
        200: answers(body, metric.doc),
        304: {"description": "The state is that of If-None-Match."},
        400: problem("A parameter is not one of these, or its value is none that it takes."),
        **AUTH,
        **UNAVAILABLE,
    }


def rows_parameters(metric: AnyMetric) -> dict[str, Any]:
    default = "hour" if len(grains_of(metric)) > 1 else "all"
    found = [
        *_range(metric, default),
        *_split(metric),
        _parameter("order", {"enum": list(figures_of(metric))}, "Largest first by this figure."),
        _parameter("limit", {**WHOLE, "minimum": 1, "maximum": ROWS_AT_MOST}, "At most this many rows."),
    ]
    return {"parameters": found}


def top_parameters(metric: AnyMetric) -> dict[str, Any]:
    first = metric.measures[0].name
    order = {"enum": list(figures_of(metric)), "default": first}
    count = {**WHOLE, "minimum": 1, "maximum": TOP_AT_MOST, "default": 10}
    found = [
        *_range(metric, "all"),
        *_split(metric, required=True),
        _parameter("order", order, "The figure that decides."),
        _parameter("n", count, "How many rows."),
    ]
    return {"parameters": found}


def _measures(metric: AnyMetric) -> set[str]:
    return {measure.name for measure in metric.measures}


def _range(metric: AnyMetric, default: str) -> list[Schema]:
    grains = list(grains_of(metric))
    found = [_parameter("grain", {"enum": grains, "default": default}, "Length of a bucket.")]
    if len(grains) > 1:
        spans = ", ".join(f"{count} {grain}s" for grain, count in DEFAULT_BUCKETS.items())
        text = f"A time with its zone, or a day of the shop's time zone. Without a range: the last {spans} up to the "
        text += "newest event. Whole buckets are answered. Not with grain `all`."
        found.append(_parameter("from", STRING, text))
        found.append(_parameter("to", STRING, "The end, which is not part of the range; as `from`."))
    return found


def _split(metric: AnyMetric, required: bool = False) -> list[Schema]:
    dimensions = list(dimensions_of(metric))
    if not dimensions:
        return []
    by = {"type": "array", "items": {"enum": dimensions}, "uniqueItems": True}
    several = {"style": "form", "explode": False, "required": required}
    found = [{**_parameter("by", by, "One row for each value of these, joined by commas."), **several}]
    for name in dimensions:
        text = f"Only rows with this {name}; repeat it for several. Empty: rows without one."
        found.append(_parameter(name, {"type": "array", "items": STRING}, text))
    return found


def _parameter(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


# --- events


def event_schema(contract: Contract) -> Schema:
    """A document of the ingest: what the ingest fills in is not required."""
    filled = {"event_id", "op", "occurred_at", "version", "source"}
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
            pattern = rf"^-?[0-9]{{1,{field.precision - field.scale}}}(\.[0-9]{{1,{field.scale}}})?$"
            schema: Schema = {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number"}]}
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


def event_body(topic: str) -> dict[str, Any]:
    schema = event_schema(CONTRACTS[topic])
    content = {"application/json": {"schema": schema}, "application/x-ndjson": {"schema": STRING}}
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": STRING,
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
    404: problem("No such topic."),
    413: problem("The body, or the number of lines, is too large."),
    415: problem("Neither JSON nor NDJSON in UTF-8."),
    422: problem("Nothing was accepted; `errors` or `results` say why."),
    **AUTH,
    503: problem("Nothing was accepted now; the same request may be sent again."),
}

# --- status


def state_answer(properties: Mapping[str, Schema], description: str) -> dict[int | str, Any]:
    return {200: answers(objects({**properties, "as_of": AS_OF}), description), **AUTH, **UNAVAILABLE}


OBJECT: Schema = {"type": "object"}
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
    {"freshness_ms": WHOLE, "newest_event_time": or_null(TIME), "newest_record_time": or_null(TIME)},
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
    {"exact": BOOLEAN, "offsets": WHOLE, "counts": OBJECT, "held": OBJECT, "partitions": _ROWS},
    "Per source partition: every offset from the base to the next one has exactly one verdict.",
)
LIVE: dict[int | str, Any] = {
    200: {
        "description": "`snapshot`: all live numbers, absolute, with an id; `state`: live, rebuilding or unavailable.",
        "content": {"text/event-stream": {"schema": STRING}},
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

"""The catalogue of metrics and the routes of each, derived from their declarations. Pure."""

from typing import Any

from schemas.metric import AnyMetric
from serving.api.openapi.parts import (
    AS_OF,
    AUTH,
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
from serving.api.parameters import DEFAULT_BUCKETS, ROWS_AT_MOST, TOP_AT_MOST
from serving.read.query import dimensions_of, figures_of, grains_of

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
        text += "newest event, or the broker's newest time if that is earlier. Whole buckets are answered. Not with "
        text += "grain `all`."
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

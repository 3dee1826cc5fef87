"""A snapshot of the live numbers: which questions it asks, and the document that it is. Pure.

Absolute, never a difference: whoever has the newest one has everything.
"""

from collections.abc import Sequence
from typing import Any

from schemas.contract import CONTRACTS
from schemas.metric import AnyMetric
from schemas.metrics import ACTIVE, CUSTOMERS, EVENTS, FUNNEL, ITEMS, OWN_METRICS, PAYMENTS, PRODUCTS, REVENUE
from serving.api.health import Health
from serving.read import Answer, MetricQuery
from serving.read.query import figures
from serving.read.reader import iso_micros

MINUTES = 60
TOP = 10
SECOND = 1_000_000
NEWEST = "newest:"  # how the materializer names a topic's newest event time


def minute_range(newest: int) -> tuple[int, int]:
    """The minutes shown, as [start, end) in seconds, for a newest event time in µs."""
    end = (newest // SECOND // 60 + 1) * 60
    return end - MINUTES * 60, end


def questions(newest: int) -> list[MetricQuery]:
    """The metric queries of a snapshot; `newest` is the newest event time (µs) that is known."""
    start, end = minute_range(newest)
    return [
        MetricQuery(REVENUE),
        MetricQuery(REVENUE, "minute", start, end),
        MetricQuery(REVENUE, by=("shipping_country",), order="gross", limit=TOP),
        MetricQuery(ITEMS),
        MetricQuery(ITEMS, by=("product_id",), order="revenue", limit=TOP),
        MetricQuery(ITEMS, by=("category",), order="revenue", limit=TOP),
        MetricQuery(FUNNEL),
        MetricQuery(PAYMENTS),
        MetricQuery(CUSTOMERS),
        MetricQuery(ACTIVE),
        MetricQuery(EVENTS, by=("topic",)),
        *(MetricQuery(metric) for metric in OWN_METRICS),
    ]


def document(answer: Answer, health: Health, currency: str, time_zone: str) -> dict[str, Any]:
    """The snapshot, from the answer to `questions` and the state's own figures of the same moment."""
    revenue, minutes, countries, items, top, categories, funnel, payments, customers, active, events, *own = (
        answer.rows
    )
    return {
        "currency": currency,
        "time_zone": time_zone,
        "revenue": _total(REVENUE, revenue),
        "revenue_by_minute": _columns(minutes, "start", "gross", "net", "orders"),
        "revenue_by_country": _columns(countries, "shipping_country", "gross", "net", "orders"),
        "items": _total(ITEMS, items),
        "top_products": [_product(row, answer) for row in top],
        "items_by_category": _columns(categories, "category", "revenue", "units"),
        "funnel": _total(FUNNEL, funnel),
        "payments": _total(PAYMENTS, payments),
        "customers": _total(CUSTOMERS, customers),
        "active": _total(ACTIVE, active),
        "events": _columns(events, "topic", "records", "refused", "error_rate"),
        "more_metrics": [_described(metric, rows) for metric, rows in zip(OWN_METRICS, own, strict=True)],
        "newest_by_topic": {
            topic: iso_micros(int(answer.meta[NEWEST + topic]))
            for topic in CONTRACTS
            if NEWEST + topic in answer.meta
        },
        **describe(health),
    }


def describe(health: Health) -> dict[str, Any]:
    """What goes with every message about a state that can be read."""
    return {
        "freshness": health.freshness(),
        "lag": health.lag(),
        "exactness": health.exactness(),
        "as_of": health.as_of.as_json(health.now),
    }


def _total(metric: Any, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return rows[0] if rows else figures(metric, {})


def _described(metric: AnyMetric, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole of a metric that only its user knows: so its words and units go with it."""
    values = _total(metric, rows)
    declared = (*metric.measures, *getattr(metric, "derived", ()))
    return {
        "name": metric.name,
        "doc": metric.doc,
        "figures": [
            {"name": f.name, "doc": f.doc, "unit": f.unit, "value": values[f.name]} for f in declared
        ],
    }


def _columns(rows: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: row[name] for name in names} for row in rows]


def _product(row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    known = answer.attributes[PRODUCTS.name].get(row["product_id"] or "")
    attributes = dict(zip(PRODUCTS.attributes, known, strict=True)) if known else {}
    return {
        "product_id": row["product_id"],
        "name": attributes.get("name"),
        "category": attributes.get("category"),
        "revenue": row["revenue"],
        "units": row["units"],
    }

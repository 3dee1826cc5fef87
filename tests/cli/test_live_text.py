"""A view of the live numbers as text holds the metrics of a user's own too."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from dataflow.live_text import line, own_value, picture
from dataflow.push import LIVE, View

SHOT: dict[str, Any] = {
    "currency": "USD",
    "revenue": {"gross": "10.00", "net": "10.00", "orders": 1, "average_order_value": "10.00"},
    "items": {"units": 2},
    "payments": {"success_rate": None},
    "active": {"sessions": 3, "visitors": 2},
    "customers": {"new_customers": 0},
    "funnel": {"product_view": 1, "conversion": None},
    "top_products": [],
    "events": [],
    "lag": {"records_behind": 0, "stale": False},
    "freshness": {"freshness_ms": 0},
    "exactness": {"exact": True, "held": {}},
    "as_of": {"generation": "g1", "position": 8, "event_time": None},
    "more_metrics": [
        {
            "name": "returns",
            "doc": "Parcels sent back.",
            "figures": [
                {"name": "parcels", "doc": "", "unit": "count", "value": 1_234},
                {"name": "refunded", "doc": "", "unit": "money", "value": "98765.40"},
                {"name": "refund_rate", "doc": "", "unit": "ratio", "value": 0.25},
                {"name": "average_refund", "doc": "", "unit": "money", "value": None},
            ],
        }
    ],
}


def text(shot: dict[str, Any]) -> tuple[str, str]:
    """The line and the picture."""
    view = View(LIVE, None, 0.0, shot, "g1-1")
    drawn = StringIO()
    Console(width=120, file=drawn).print(picture(view, "demo", 0.0))
    return line(view, 0.0), drawn.getvalue()


def test_the_line_has_each_figure_of_ones_own_metrics() -> None:
    own = "returns.parcels 1,234  returns.refunded 98,765.40  returns.refund_rate 0.25  returns.average_refund –"
    assert f"  sessions 3  {own}  errors –" in text(SHOT)[0]


def test_the_picture_has_a_table_of_them() -> None:
    rows = [row.split() for row in text(SHOT)[1].splitlines()]
    assert ["returns", "parcels", "1,234"] in rows
    assert ["refunded", "98,765.40"] in rows
    assert ["average_refund", "–"] in rows


@pytest.mark.parametrize("none", [{"more_metrics": []}, {}])
def test_without_any_there_is_nothing_of_them(none: dict[str, Any]) -> None:
    shot = {name: value for name, value in SHOT.items() if name != "more_metrics"} | none
    found = text(shot)
    assert "returns" not in found[0] + found[1]
    assert "more metrics" not in found[1]


def test_a_ratio_is_the_number_that_it_is() -> None:
    assert own_value("ratio", 12.34567) == "12.35"

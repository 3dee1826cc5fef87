"""Odd but valid histories count as what they say, however they are cut into commits and whatever crashes between."""

from typing import Any

import pytest

from dataflow.testing import ABORT, Clock, Events, Offline
from tests.bad_input.histories import HISTORIES, OUTCOMES, History


@pytest.mark.parametrize("commit_every", [1, 2, 500])
@pytest.mark.parametrize("history", HISTORIES, ids=str)
def test_a_history_counts_as_what_it_says(events: Events, history: History, commit_every: int) -> None:
    offline = Offline(events, commit_every=commit_every)
    offline.produce_all(history.events(events))
    expect(offline, history)


@pytest.mark.parametrize("history", HISTORIES, ids=str)
def test_a_history_counts_the_same_with_a_crash_after_each_of_its_records(
    events: Events, history: History
) -> None:
    offline = Offline(events, commit_every=2)
    offline.produce_all(item for event in history.events(events) for item in (event, ABORT))
    expect(offline, history)


def test_what_comes_again_forty_days_later_changes_nothing(
    offline: Offline, events: Events, clock: Clock
) -> None:
    order, view = events("orders", total_amount="5.00"), events("clickstream", event_type="checkout")
    paid = events.change(order, status="paid")
    for _ in range(3):
        offline.produce_all([order, view, paid, ABORT])
        clock.advance(days=40)
    offline.settled()
    assert [(row["start"][:10], row["gross"]) for row in offline.rows("revenue", "day")] == [
        ("2026-03-02", "5.00")
    ]
    assert [row["checkout"] for row in offline.rows("funnel", "day")] == [1]
    days = [
        (row["start"][:10], row["changed"], row["repeat"] + row["superseded"])
        for row in offline.rows("events", "day")
    ]
    assert days == [("2026-03-02", 3, 0), ("2026-04-11", 0, 3), ("2026-05-21", 0, 3)]


@pytest.mark.dataflow(shop_timezone="America/New_York")
def test_a_day_is_the_shops_whatever_zone_the_time_was_written_in(metric: Any, clock: Clock) -> None:
    times = ("2026-03-03T04:59:59.999999Z", "2026-03-03T10:44:59+05:45", "2026-03-03T00:00:00-05:00")
    clock.set("2026-04-01T00:00:00Z")
    rows = metric("revenue", [{"order_date": time} for time in times], "day")
    assert [(row["start"], row["orders"]) for row in rows] == [
        ("2026-03-02T05:00:00Z", 2),
        ("2026-03-03T05:00:00Z", 1),
    ]


def test_a_category_is_unknown_until_its_product_comes_and_then_moves_its_history(
    metric: Any, events: Events
) -> None:
    product = events("products", category="maps")
    item = ("order_items", {"product_id": product["product_id"], "quantity": 2})
    assert [(row["category"], row["units"]) for row in metric("items", [item], by="category")] == [
        ("unknown", 2)
    ]
    rows = metric("items", [item, product], by="category")
    assert [(row["category"], row["units"]) for row in rows] == [("maps", 2)]
    [gone] = metric("items", [item, product, events.delete(product)], by="category")
    assert (gone["category"], gone["units"]) == ("unknown", 2)


def expect(offline: Offline, history: History) -> None:
    offline.settled()
    [counted] = offline.rows("events")
    assert {outcome: counted[outcome] for outcome in OUTCOMES} == history.counts()
    rows = offline.rows(history.metric)
    row = rows[0] if rows else dict.fromkeys(history.adds, 0)
    assert {name: minor(row[name]) for name in history.adds} == history.adds


def minor(value: Any) -> int:
    """Money is text with two decimals."""
    return int(value.replace(".", "")) if isinstance(value, str) else value

"""Tests of the shop's own topics: what an order shows, whatever becomes of it and in whichever order it comes."""

import itertools

import pytest

from dataflow.testing import ABORT


def test_a_cancelled_order_is_taken_off_on_its_own_day(metric, events, clock):
    order = events("orders", total_amount="129.90", shipping_country="AT")
    clock.advance(days=3)
    rows = metric(
        "revenue", [order, events.change(order, status="cancelled")], grain="day", by="shipping_country"
    )
    assert [(row["start"][:10], row["gross"], row["net"]) for row in rows] == [
        ("2026-03-02", "129.90", "0.00")
    ]


@pytest.mark.parametrize("order_of_arrival", list(itertools.permutations(range(3))))
def test_the_order_of_arrival_does_not_matter(metric, events, order_of_arrival):
    placed = events("orders", total_amount="10.00")
    corrected = events.change(placed, total_amount="12.00")
    paid = events.change(corrected, status="paid")
    history = [placed, corrected, paid]
    arrived = [item for n in order_of_arrival for item in (history[n], ABORT)]
    assert metric("revenue", arrived)[0]["gross"] == "12.00"


def test_an_item_takes_the_category_that_its_product_has_now(offline):
    stream = offline.stream
    product = stream.produce("products", category="books")
    stream.produce("order_items", product_id=product.event["product_id"], quantity=2, unit_price="7.00")
    stream.change(product, category="maps")
    offline.settled()
    assert [(row["category"], row["revenue"]) for row in offline.rows("items", by="category")] == [
        ("maps", "14.00")
    ]


def test_a_request_to_the_api_is_counted_like_any_other_event(live, events, ids):
    body = {
        "order_id": ids("mine"),
        "order_date": "2026-03-02T10:00:00Z",
        "status": "placed",
        "total_amount": "129.90",
        "payment_method": "card",
        "created_at": "2026-03-02T10:00:00Z",
        "updated_at": "2026-03-02T10:00:00Z",
    }
    for _ in range(2):
        assert (
            live.http.post("/v1/events/orders", json=body, headers={"Idempotency-Key": "1"}).status_code
            == 202
        )
    live.settled()
    [row] = live.rows("revenue")
    assert (row["orders"], row["gross"]) == (1, "129.90")

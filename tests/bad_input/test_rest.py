"""Bad events over REST: each gets the documented problem or its line's verdict, and nothing else changes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

from dataflow.testing import Live
from tests.bad_input.counting import gained, measure, totals
from tests.serving.api.documents import ITEM, VIEW, new_id, order, without
from tests.serving.api.kit import assert_problem

JSON, NDJSON = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}
NOTHING = {"records": 0, "changed": 0, "repeat": 0, "superseded": 0, "refused": 0}
FORTY = "1234567890" * 4


def raw(topic: str, field: str, text: str) -> tuple[str, bytes]:
    """A good document of a topic with this JSON text as a field's value."""
    document = {"orders": order(), "order_items": {**ITEM, "order_item_id": new_id()}, "clickstream": VIEW}[
        topic
    ]
    return topic, orjson.dumps(without(document, field))[:-1] + f',"{field}":{text}}}'.encode()


def in_days(days: float) -> str:
    return f'"{(datetime.now(UTC) + timedelta(days=days)).isoformat()}"'


BAD = {
    "the year 1970": (raw("orders", "order_date", '"1970-01-01T00:00:00Z"'), "order_date_in_range"),
    "before 1970": (raw("orders", "order_date", '"1969-12-31T23:59:59Z"'), "order_date_in_range"),
    "the last second of 1999": (raw("orders", "order_date", '"1999-12-31T23:59:59Z"'), "order_date_in_range"),
    "1999 by its zone": (raw("orders", "order_date", '"2000-01-01T00:30:00+01:00"'), "order_date_in_range"),
    "the year 9999": (raw("orders", "order_date", '"9999-12-31T23:59:59Z"'), "order_date_in_range"),
    "beyond 9999 by its zone": (raw("orders", "order_date", '"9999-12-31T23:59:59-01:00"'), "order_date_type"),
    "two days ahead": (raw("orders", "order_date", in_days(2)), "order_date_in_range"),
    "a click two days ahead": (raw("clickstream", "occurred_at", in_days(2)), "occurred_at_in_range"),
    "a time without a zone": (raw("orders", "order_date", '"2026-05-17T09:30:00"'), "order_date_type"),
    "a zone by name": (raw("orders", "order_date", '"2026-05-17T09:30:00 Europe/Vienna"'), "order_date_type"),
    "a zone of 25 hours": (raw("orders", "order_date", '"2026-05-17T09:30:00+25:00"'), "order_date_type"),
    "nanoseconds": (raw("orders", "order_date", '"2026-05-17T09:30:00.123456789Z"'), "order_date_type"),
    "a leap second": (raw("orders", "order_date", '"2016-12-31T23:59:60Z"'), "order_date_type"),
    "a number for a time": (raw("orders", "order_date", "1779010200"), "order_date_type"),
    "a quantity of 0": (raw("order_items", "quantity", "0"), "quantity_minimum"),
    "a quantity of -1": (raw("order_items", "quantity", "-1"), "quantity_minimum"),
    "a quantity of 2³¹": (raw("order_items", "quantity", str(2**31)), "quantity_type"),
    "a quantity of 10¹⁰⁰": (raw("order_items", "quantity", "1" + "0" * 100), "quantity_type"),
    "a quantity of 5,000 digits": (raw("order_items", "quantity", "1" * 5_000), "malformed_json"),
    "2.0 pieces": (raw("order_items", "quantity", "2.0"), "quantity_type"),
    "pieces as text": (raw("order_items", "quantity", '"2"'), "quantity_type"),
    "a line too dear": (raw("order_items", "quantity", str(2**31 - 1)), "line_amount_in_range"),
    "NaN": (raw("orders", "total_amount", "NaN"), "malformed_json"),
    "Infinity": (raw("orders", "total_amount", "Infinity"), "malformed_json"),
    "-Infinity": (raw("orders", "total_amount", "-Infinity"), "malformed_json"),
    "NaN as text": (raw("orders", "total_amount", '"NaN"'), "total_amount_type"),
    "1e400": (raw("orders", "total_amount", "1e400"), "total_amount_type"),
    "an exponent without end": (raw("orders", "total_amount", "1e99999999999999999999"), "malformed_json"),
    "a negative amount": (raw("orders", "total_amount", "-0.01"), "total_amount_minimum"),
    "40 digits": (raw("orders", "total_amount", FORTY), "total_amount_type"),
    "40 digits as text": (raw("orders", "total_amount", f'"{FORTY}.00"'), "total_amount_type"),
    "40 decimals": (raw("orders", "total_amount", f"0.{FORTY}"), "total_amount_type"),
    "three decimals": (raw("orders", "total_amount", "12.345"), "total_amount_type"),
    "three decimals as text": (raw("orders", "total_amount", '"12.345"'), "total_amount_type"),
    "a comma": (raw("orders", "total_amount", '"12,34"'), "total_amount_type"),
    "a version of 2⁶³": (raw("orders", "version", str(2**63)), "version_type"),
    "a version below 0": (raw("orders", "version", "-1"), "version_minimum"),
    "no UTF-8": (("orders", b'{"order_id": "\xff\xfe"}'), "malformed_json"),
    "UTF-16": (("orders", '{"order_id": "1"}'.encode("utf-16")), "malformed_json"),
    "a byte order mark": (("orders", b"\xef\xbb\xbf{}"), "malformed_json"),
    "half a document": (("orders", b'{"order_id": "1", '), "malformed_json"),
    "two documents": (("orders", b"{}{}"), "malformed_json"),
    "a list": (("orders", b"[{}]"), "malformed_json"),
    "nothing": (("orders", b""), "malformed_json"),
    "nested without end": (("orders", b'{"a":' * 20_000), "malformed_json"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_document_is_a_problem_that_names_the_rule(shop: Live, name: str) -> None:
    (topic, body), rule = BAD[name]
    problem = assert_problem(
        shop.http.post(f"/v1/events/{topic}", content=body, headers=JSON), 422, "refused"
    )
    assert problem["errors"][0]["rule"] == rule
    assert problem["errors"][0]["reason"]


def test_of_all_bad_documents_nothing_reaches_a_topic_or_a_number(shop: Live) -> None:
    shop.settled()
    before = totals(shop)

    def act() -> None:
        for (topic, body), _ in BAD.values():
            assert shop.http.post(f"/v1/events/{topic}", content=body, headers=JSON).status_code == 422

    assert gained(shop, act) == NOTHING
    assert totals(shop) == before


def test_bad_lines_amid_good_ones_are_refused_one_by_one(shop: Live) -> None:
    """A line is a line whatever stands in it: what follows a broken one is read as ever."""
    bad = [(body, rule) for (topic, body), rule in BAD.values() if topic == "orders" and body.strip()]
    lines = [line for body, _ in bad for line in (body, orjson.dumps(order(total_amount="0.01")))]
    gross = measure(shop, "revenue", "gross")
    answers: list[dict[str, Any]] = []

    def act() -> None:
        answer = shop.http.post("/v1/events/orders", content=b"\n".join(lines), headers=NDJSON)
        assert answer.status_code == 202
        answers.append(answer.json())

    added = gained(shop, act)
    [body] = answers
    assert (body["accepted"], body["refused"], body["failed"]) == (len(bad), len(bad), 0)
    assert [line["errors"][0]["rule"] for line in body["results"][::2]] == [rule for _, rule in bad]
    assert added == {**NOTHING, "records": len(bad), "changed": len(bad)}
    assert measure(shop, "revenue", "gross") - gross == len(bad) * Decimal("0.01")


def test_the_bounds_themselves_are_taken_and_counted(shop: Live) -> None:
    documents = [
        ("orders", order(total_amount="9999999999.99")),
        ("orders", order(total_amount=0)),
        # 0.10, and no digit of it is lost
        ("orders", order(total_amount="0.1" + "0" * 39)),
        ("orders", order(order_date="2000-01-01T00:00:00Z")),
        ("orders", order(order_date="2000-01-01T05:45:00+05:45")),
        ("orders", order(version=2**63 - 1)),
        ("orders", order(version=0)),
        ("order_items", {**ITEM, "order_item_id": new_id(), "quantity": 2**31 - 1, "unit_price": "0.01"}),
    ]

    def act() -> None:
        for topic, document in documents:
            answer = shop.http.post(f"/v1/events/{topic}", json=document)
            assert answer.status_code == 202, answer.text

    assert gained(shop, act) == {**NOTHING, "records": len(documents), "changed": len(documents)}


def test_one_event_id_twice_in_one_batch_counts_once(shop: Live) -> None:
    """The same order has the same version both times; a click is its id; one id for two orders makes them no one."""
    once, view = order(event_id=new_id(), total_amount="5.00"), {**VIEW, "event_id": new_id()}
    other = {**once, "order_id": new_id()}
    contradiction = {**once, "total_amount": "6.00"}
    gross = measure(shop, "revenue", "gross")

    def act() -> None:
        for topic, documents in (
            ("orders", [once, once, other, contradiction]),
            ("clickstream", [view, view]),
        ):
            body = b"\n".join(map(orjson.dumps, documents))
            answer = shop.http.post(f"/v1/events/{topic}", content=body, headers=NDJSON).json()
            assert answer["accepted"] == len(documents)
            versions = {line.get("version") for line in answer["results"]}
            assert len(versions) == 1

    assert gained(shop, act) == {"records": 6, "changed": 3, "repeat": 2, "superseded": 0, "refused": 1}
    assert measure(shop, "revenue", "gross") - gross == 10
    assert shop.dead_letters("orders")[-1].reasons == ("version_conflict",)

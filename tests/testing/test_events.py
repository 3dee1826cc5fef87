"""Events for tests fit their contract, are the same in every run, and say at once what was written wrongly."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from dataflow.testing import Clock, Event, Events, Ids, Judge
from dataflow.testing.events import _email, _number
from schemas.contract import CONTRACTS, EMAIL_PATTERN, Field
from schemas.errors import ContractError


@pytest.mark.parametrize("topic", CONTRACTS)
def test_the_defaults_of_every_topic_are_accepted(topic: str, events: Events, judge: Judge) -> None:
    for _ in range(3):
        verdict = judge(topic, events(topic))
        assert verdict.reasons == ()
        assert verdict.accepted
        assert not set(verdict.event) & set(CONTRACTS[topic].pii_fields)


@pytest.mark.parametrize(
    ("digits", "attributes", "expected"),
    [
        ((4, 4), {}, "0.0001"),  # no digit before the point
        ((4, 2), {}, "1"),
        ((4, 2), {"minimum": 5}, "5"),
        ((4, 2), {"minimum": 0.5, "maximum": 0.75}, "0.75"),
        ((4, 2), {"maximum": -3}, "-3"),
        ((0, 0), {"minimum": 7}, "7"),
        ((0, 0), {"maximum": 0}, "0"),
        ((0, 0), {"minimum": 1.5, "maximum": 2.5}, "2"),
        ((0, 0), {"minimum": 2.0}, "2"),
    ],
)
def test_a_number_by_default_fits_bounds_and_digits(digits: tuple, attributes: dict, expected: str) -> None:
    kind = "decimal" if any(digits) else "int"
    found = _number(Field("f", kind, False, False, "", *digits, attributes=attributes))
    assert (str(found), type(found)) == (expected, Decimal if kind == "decimal" else int)


def test_an_address_by_default_is_no_longer_than_it_may_be() -> None:
    assert _email(7, None) == _email(7, 22) == "somebody-7@example.org"
    assert re.search(EMAIL_PATTERN.replace(r"\z", r"\Z"), _email(7, 12))
    assert len(_email(7, 12)) <= 12


def test_the_same_calls_give_the_same_events() -> None:
    def made() -> list[Event]:
        events = Events(Clock(), Ids())
        return [events(topic) for topic in (*CONTRACTS, "orders")]

    assert made() == made()
    assert len({event["event_id"] for event in made()}) == len(CONTRACTS) + 1


def test_values_are_taken_as_people_write_them(events: Events, ids: Ids) -> None:
    order = events(
        "orders", {"total_amount": "129.90"}, order_id=ids("o"), order_date="2026-05-17T09:30:00+02:00"
    )
    assert order["total_amount"] == Decimal("129.90")
    assert order["order_date"] == datetime(2026, 5, 17, 7, 30, tzinfo=UTC)
    assert order["order_id"] == ids("o") != ids("p")
    assert events("order_items", quantity=3, unit_price=2)["unit_price"] == Decimal(2)


def test_versions_grow_per_entity(events: Events, clock: Clock, ids: Ids) -> None:
    first = events("orders", order_id=ids("a"), status="placed", total_amount="5.00")
    assert events("orders")["version"] == 1
    clock.advance(minutes=5)
    paid = events.change(first, status="paid")
    gone = events.delete(paid)
    again = events("orders", order_id=ids("a"))
    assert [e["version"] for e in (first, paid, gone, again)] == [1, 2, 3, 4]
    assert [e["op"] for e in (first, paid, gone, again)] == ["c", "u", "d", "c"]
    assert (gone["status"], gone["total_amount"]) == ("paid", Decimal("5.00"))
    assert (paid["occurred_at"] - first["occurred_at"]).total_seconds() == 300
    assert paid["order_date"] == first["order_date"]
    assert events("orders", order_id=ids("a"), version=40)["version"] == 40
    assert events.change(paid)["version"] == 41
    assert len({e["event_id"] for e in (first, paid, gone, again)}) == 4


@pytest.mark.parametrize(
    ("topic", "fields", "message"),
    [
        ("order", {}, "expected a topic with a contract .*saw 'order'"),
        ("orders", {"total": "1.00"}, "expected fields of orders .*saw total; correct the name"),
        (
            "orders",
            {"total_amount": 1.5},
            r'expected money as text or Decimal, such as "1.50", saw the float',
        ),
        ("orders", {"order_date": datetime(2026, 5, 17)}, "expected a time with a time zone"),  # noqa: DTZ001
        (
            "orders",
            {"order_date": "yesterday"},
            "order_date: expected a time as in RFC 3339.* saw 'yesterday'",
        ),
    ],
)
def test_what_is_written_wrongly_is_told(events: Events, topic: str, fields: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        events(topic, fields)


def test_facts_do_not_change(events: Events) -> None:
    with pytest.raises(ContractError, match="clickstream holds facts, which never change"):
        events.change(events("clickstream"))


def test_the_clock_stands_still_until_it_is_moved(clock: Clock) -> None:
    began = clock.now()
    assert clock.now() is began
    assert (clock.advance(days=1) - began).days == 1
    assert clock.set("2026-01-01T00:00:00Z") == datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="expected a time with a time zone"):
        clock.set(datetime(2026, 1, 1))  # noqa: DTZ001

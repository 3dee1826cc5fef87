"""The table of odd histories: good records in an order, or as often, as nobody would wish, and what they add up to.

It is put to the live path in memory (test_histories.py) and to the real one (test_real_path.py). Entities are named by
their history, so that all of them can stand in one environment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dataflow.testing import Event, Events
from tests.bad_input.records import LARGEST

OUTCOMES = ("changed", "repeat", "superseded", "refused")


@dataclass(frozen=True)
class History:
    """`events` in the order of their arrival; `outcomes` is what becomes of each, `adds` what its metric gains."""

    name: str
    events: Callable[[Events], list[Event]]
    outcomes: str
    metric: str
    adds: dict[str, Any]

    def __str__(self) -> str:
        return self.name

    def counts(self) -> dict[str, int]:
        """How often each outcome is expected."""
        words = self.outcomes.split()
        return {outcome: words.count(outcome) for outcome in OUTCOMES}


def versions(*numbers: int, **fields: Any) -> Callable[[Events], list[Event]]:
    """Versions of one order; each is worth as many hundredths as its place in the row, from 1 on."""

    def made(events: Events) -> list[Event]:
        order = events.ids()
        return [
            events("orders", order_id=order, version=number, total_amount=f"0.{place:02}", **fields)
            for place, number in enumerate(numbers, 1)
        ]

    return made


def lives(*lived: tuple[int, str]) -> Callable[[Events], list[Event]]:
    """(version, op) of one customer."""

    def made(events: Events) -> list[Event]:
        customer = events.ids()
        return [events("customers", customer_id=customer, version=version, op=op) for version, op in lived]

    return made


def again(events: Events) -> list[Event]:
    order = events("orders", total_amount="5.00")
    return [order] * 4


def behind_later_ones(events: Events) -> list[Event]:
    order = events("orders", total_amount="5.00")
    paid = events.change(order, status="paid")
    return [order, paid, events("orders"), order, paid]


def id_of_the_version_before(events: Events) -> list[Event]:
    """Whoever sends an event again under a new version says nothing new."""
    order = events("orders", total_amount="5.00")
    return [order, events.change(order, total_amount="7.00", event_id=order["event_id"])]


def id_of_another_entity(events: Events) -> list[Event]:
    """Versions decide, per entity: two orders do not become one by a producer's poor event ids."""
    order = events("orders", total_amount="5.00")
    return [order, events("orders", total_amount="7.00", event_id=order["event_id"])]


def contradiction(events: Events) -> list[Event]:
    order = events("orders", total_amount="5.00")
    other = Event("orders", {**order, "status": "cancelled", "event_id": events.ids()})
    return [order, other, order]


def item_first(events: Events) -> list[Event]:
    order, product = events.ids(), events.ids()
    item = events("order_items", order_id=order, product_id=product, quantity=3, unit_price="2.00")
    return [item, events("orders", order_id=order), events("products", product_id=product)]


def payment_for_none(events: Events) -> list[Event]:
    return [events("payments", order_id=events.ids(), amount="9.00", payment_status="succeeded")]


def clicks(events: Events) -> list[Event]:
    view = events("clickstream", event_type="purchase")
    elsewhere = Event("clickstream", {**view, "event_type": "search"})
    return [view, view, elsewhere, events("clickstream", session_id=view["session_id"]), view]


def deletion_of_nothing(events: Events) -> list[Event]:
    return [events("orders", op="d", total_amount="5.00")]


def one_moment_in_two_zones(events: Events) -> list[Event]:
    order = events.ids()
    times = ("2026-01-02T23:30:00Z", "2026-01-03T05:15:00+05:45")
    return [
        events("orders", order_id=order, version=1, order_date=time, total_amount="5.00") for time in times
    ]


HISTORIES = (
    History(
        "one event four times in one batch",
        again,
        "changed repeat repeat repeat",
        "revenue",
        {"orders": 1, "gross": 500},
    ),
    History(
        "events again, behind later ones",
        behind_later_ones,
        "changed changed changed superseded repeat",
        "revenue",
        {"orders": 2},
    ),
    History(
        "an event again as another version",
        id_of_the_version_before,
        "changed repeat",
        "revenue",
        {"orders": 1, "gross": 500},
    ),
    History(
        "an event id of another order",
        id_of_another_entity,
        "changed changed",
        "revenue",
        {"orders": 2, "gross": 1200},
    ),
    History(
        "versions backwards",
        versions(9, 8, 7),
        "changed superseded superseded",
        "revenue",
        {"orders": 1, "gross": 1},
    ),
    History(
        "versions with gaps",
        versions(1, 5, 3, 9, 2),
        "changed changed superseded changed superseded",
        "revenue",
        {"orders": 1, "gross": 4},
    ),
    History("version 0 first", versions(0, 1), "changed changed", "revenue", {"orders": 1, "gross": 2}),
    History(
        "the largest version ends it",
        versions(LARGEST, LARGEST - 1, 2**53),
        "changed superseded superseded",
        "revenue",
        {"orders": 1, "gross": 1},
    ),
    History(
        "versions that a double cannot tell apart",
        versions(2**53, 2**53 + 1, 2**53 + 2),
        "changed changed changed",
        "revenue",
        {"orders": 1, "gross": 3},
    ),
    History(
        "a version that contradicts",
        contradiction,
        "changed refused repeat",
        "revenue",
        {"orders": 1, "gross": 500, "cancelled": 0},
    ),
    History(
        "an item before its order and its product",
        item_first,
        "changed changed changed",
        "items",
        {"units": 3, "revenue": 600},
    ),
    History("a payment for no order", payment_for_none, "changed", "payments", {"succeeded": 1}),
    History(
        "a customer deleted and born again",
        lives((1, "c"), (2, "d"), (3, "c")),
        "changed changed changed",
        "customers",
        {"new_customers": 1},
    ),
    History(
        "a deletion before the birth",
        lives((2, "d"), (1, "c")),
        "changed superseded",
        "customers",
        {"new_customers": 0},
    ),
    History(
        "deleted twice",
        lives((1, "c"), (2, "d"), (3, "d")),
        "changed changed changed",
        "customers",
        {"new_customers": 0},
    ),
    History(
        "a change that comes after the deletion",
        lives((1, "c"), (3, "d"), (2, "u")),
        "changed changed superseded",
        "customers",
        {"new_customers": 0},
    ),
    History(
        "a deletion of what never was", deletion_of_nothing, "changed", "revenue", {"orders": 0, "gross": 0}
    ),
    History(
        "one click as often as it likes",
        clicks,
        "changed repeat repeat changed repeat",
        "funnel",
        {"purchase": 1},
    ),
    History(
        "one moment in two zones",
        one_moment_in_two_zones,
        "changed repeat",
        "revenue",
        {"orders": 1, "gross": 500},
    ),
)

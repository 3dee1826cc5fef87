"""The live path in memory: what an ABORT loses and what it does not, and what a metric shows over events."""

import asyncio
from datetime import timedelta

import pytest

from dataflow.testing import ABORT, Abort, Clock, Event, Events, Ids, Offline, Stream, rows_over
from dataflow.testing.stream import NothingToKill
from schemas.metric import Count, Metric
from sources.codec import EventCodec


def test_a_metric_over_events_and_a_crash(metric, events: Events) -> None:
    order = events("orders", total_amount="5.00")
    rows = metric(
        "revenue", [order, {"total_amount": "10.00"}, ABORT, events.change(order, status="cancelled")]
    )
    assert rows == [
        {
            "gross": "15.00",
            "cancelled": "5.00",
            "refunded": "0.00",
            "orders": 2,
            "net": "10.00",
            "average_order_value": "7.50",
        }
    ]


def test_other_topics_may_take_part(metric, events: Events) -> None:
    book = events("products", category="books")
    items = [book, {"product_id": book["product_id"], "quantity": 3}]
    assert [(row["category"], row["units"]) for row in metric("items", items, by="category")] == [
        ("books", 3)
    ]
    items.append(events.change(book, category="maps"))
    assert [(row["category"], row["units"]) for row in metric("items", items, by="category")] == [("maps", 3)]


def test_who_is_active_does_not_go_by_a_clock_that_is_ahead(metric, events: Events, ids: Ids) -> None:
    """One visitor's clock shows tomorrow, which the contract still takes: the others are active all the same."""
    now = events.clock.now()

    def click(name: str, **ahead: float) -> Event:
        who = {"session_id": ids(f"{name} s"), "visitor_id": ids(f"{name} v")}
        return events("clickstream", who, occurred_at=now + timedelta(**ahead))

    clicks = [click(f"{n}") for n in range(10)]
    [row] = metric("active", [*clicks, click("ahead", hours=23), click("late")])
    assert (row["sessions"], row["visitors"]) == (12, 12)
    [row] = metric("active", [click("old", minutes=-31), *clicks])
    assert (row["sessions"], row["visitors"]) == (10, 10)


def test_a_metric_that_is_declared_nowhere_else(metric) -> None:
    guests = Metric(
        name="guests",
        doc="Orders without a customer.",
        of="orders",
        at="order_date",
        measures=(Count("orders", "Orders by guests.", where="customer_id IS NULL"),),
    )
    assert metric(guests, [{}, {"customer_id": "0d5e8a3c-1b7e-4a53-8c6f-0d8f0a3c1b7e"}, {}]) == [
        {"orders": 2}
    ]


@pytest.mark.dataflow(shop_timezone="America/New_York")
def test_the_marker_sets_the_time_zone(metric, clock: Clock) -> None:
    clock.set("2026-03-03T03:00:00Z")
    assert [row["start"] for row in metric("revenue", [{}], "day")] == ["2026-03-02T05:00:00Z"]


def test_a_crash_loses_what_was_not_committed_and_counts_all_the_same(offline: Offline) -> None:
    offline.produce_all([("orders", {"total_amount": "1.00"})] * 7)
    offline.kill()
    with pytest.raises(AssertionError, match="expected a pipeline that runs"):
        offline.settled()
    assert offline.rows("revenue")[0]["orders"] == 6  # two runs of three
    offline.start()
    assert offline.rows("revenue")[0]["orders"] == 6
    offline.settled()
    assert offline.rows("revenue")[0]["orders"] == 7
    assert [row["records"] for row in offline.rows("events")] == [7]


@pytest.mark.parametrize("commit_every", [1, 2, 500])
@pytest.mark.parametrize(
    "failpoint",
    [
        "materializer.before_commit",
        "materializer.after_commit",
        "materializer.before_dead_letters",
        "materializer.after_dead_letters",
        "materializer.after_claim",
        "materializer.after_founding",
    ],
)
def test_a_crash_at_a_failpoint_changes_nothing(failpoint: str, commit_every: int) -> None:
    offline = Offline(commit_every=commit_every)
    good, bad = ("orders", {"total_amount": "1.00"}), ("orders", {"total_amount": "-1"})
    offline.produce_all(
        [good, bad, good, Abort(failpoint), good, good, bad, Abort("materializer.before_commit:1")]
    )
    offline.settled()
    assert offline.kills == 2
    assert offline.rows("revenue")[0]["gross"] == "4.00"
    assert [(row["records"], row["refused"]) for row in offline.rows("events")] == [(6, 2)]
    assert len(offline.dead_letters()) == 2


def test_the_second_hit_of_a_failpoint_may_be_asked_for(offline: Offline) -> None:
    offline.produce_all([*[("orders", {})] * 6, Abort("materializer.before_commit:2")])
    assert offline.rows("revenue")[0]["orders"] == 3
    offline.settled()
    assert offline.rows("revenue")[0]["orders"] == 6


def test_a_failpoint_that_nothing_comes_to_is_told(offline: Offline) -> None:
    with pytest.raises(AssertionError, match=r"nothing came to failpoint materializer\.after_dead_letters"):
        offline.produce_all([("orders", {}), Abort("materializer.after_dead_letters")])


def test_an_abort_without_a_pipeline_is_told(events: Events) -> None:
    alone = Stream(Offline(events).log, EventCodec({}), events)
    with pytest.raises(NothingToKill, match="expected a pipeline to kill at ABORT"):
        alone.produce_all([ABORT])


def test_a_topic_or_metric_that_is_not_there_is_told(offline: Offline) -> None:
    with pytest.raises(KeyError, match=r"expected a metric that is declared .*saw 'revenu'"):
        offline.rows("revenu")
    with pytest.raises(TypeError, match=r"expected an Event, a Raw, a pair \(topic, fields\) or ABORT"):
        offline.produce_all([{"total_amount": "1.00"}])


def test_it_may_be_asked_from_within_an_event_loop(offline: Offline) -> None:
    async def test() -> list[dict]:
        offline.stream.produce("orders", total_amount="1.00")
        offline.settled()
        return offline.rows("revenue")

    assert asyncio.run(test())[0]["gross"] == "1.00"


def test_the_same_input_gives_the_same_rows_verdicts_and_letters() -> None:
    def run() -> tuple:
        offline = Offline()
        offline.produce_all([("orders", {"total_amount": "1.00"}), ABORT, ("orders", {"status": "?"})])
        offline.settled()
        return offline.rows("revenue", "minute"), offline.verdicts(), offline.dead_letters()

    assert run() == run()
    assert rows_over("revenue", [{}], "minute") == rows_over("revenue", [{}, ABORT], "minute")

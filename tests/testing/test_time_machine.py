"""The time machine: a history that is the same in every run, through kills, and replays of it by other code."""

import shutil
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dataflow.testing import Services, TimeMachine
from infra.code import PACKAGES
from infra.runtime.platform import ROOT
from replay.diff import words
from replay.errors import ReplayError
from replay.guards import Guards
from replay.switch import promote
from serving.store.keys import Keys
from serving.store.store import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TABLES = ("orders", "fct_orders", "daily_sales", "dim_products", "sessions", "record_outcomes", "quarantine")
METRICS = ("revenue", "items", "funnel", "events")


def seen(machine: TimeMachine, number: int = 1) -> dict[str, object]:
    found = {name: machine[number].table(name) for name in TABLES}
    return found | {name: machine[number].rows(name, "minute") for name in METRICS}


def test_the_same_seed_gives_the_same_history_and_kills_change_nothing(
    dataflow_services: Services, tmp_path: Path
) -> None:
    runs = []
    for name, failpoints in (
        ("calm", (None, None)),
        ("killed", ("materializer.before_commit", "lake.after_append_fct_orders")),
    ):
        with (
            dataflow_services.environment(tmp_path / name, name) as place,
            TimeMachine(place, seed=7, records=600) as machine,
        ):
            first = machine.to(250, failpoints[0])
            assert sum(first.values()) == machine.position == 250
            early = machine[1].table("fct_orders")
            assert machine[1].rows("active") == [*machine.truth.rows("active", "all").values()]
            machine.to(600, failpoints[1])
            assert machine[1].kills == 2 - failpoints.count(None)
            assert machine[1].differences() == []
            assert machine[1].table("fct_orders", manifest=1) == early
            # The broker's clock is the story's: whoever was active in its last half hour is.
            assert machine[1].rows("active") == [*machine.truth.rows("active", "all").values()]
            truth = sum(row["orders"] for row in machine.truth.rows("revenue", "all").values())
            rows = machine[1].rows("revenue", "day", by="payment_method")
            assert sum(row["orders"] for row in rows) == truth
            runs.append((machine.offsets, seen(machine)))
    assert runs[0] == runs[1]


def changed_tree(home: Path) -> Path:
    """DataFlow with another definition of revenue: an order counts as cancelled once it is paid."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, home / package, ignore=shutil.ignore_patterns("__pycache__"))
    file = home / "schemas" / "metrics.py"
    text, before = file.read_text(), "status = 'cancelled'"
    assert text.count(before) == 1
    file.write_text(text.replace(before, "status IN ('cancelled', 'paid')"))
    return home


def test_unchanged_code_gives_the_same_and_a_changed_metric_exactly_that_change(time_machine, tmp_path: Path):
    machine = time_machine(seed=3, records=900)
    machine.to(700)
    again = machine.replay(failpoint="lake.after_append_fct_orders")
    assert again.kills == 1
    assert again.name == "g2"
    assert machine.diff().equal
    assert seen(machine, 1) == seen(machine, 2)
    machine.to(900, "materializer.after_commit")
    assert machine.diff().equal
    assert seen(machine, 1) == seen(machine, 2)

    machine.cancel(2)
    other = machine.replay(tree=changed_tree(tmp_path / "tree"))
    found = machine.diff(1, other.number)
    assert {each.title for each in found.differing} == {"revenue by day", "revenue in all"}
    assert other.differences() == []
    # To the cent, and nothing but that: of the orders as they are, those that are paid count as cancelled too.
    orders = machine[1].table("orders")
    for grain in ("all", "day", "minute"):
        mine, theirs = machine[1].rows("revenue", grain), other.rows("revenue", grain)
        paid = paid_by(orders, grain)
        assert sum(paid.values()) > 0
        assert theirs == [with_cancelled(row, paid[start_of(row)]) for row in mine]

    # A live number that went wrong is one that differs, though the lake is right.
    with closing(connect(machine.settings)) as redis:
        buckets = redis.scan_iter(match=f"{Keys.of(machine.settings, 'g1').space}m:revenue:day:*")
        assert redis.delete(max(buckets)) == 1
    assert [each["table"] for each in machine[1].differences()] == ["live revenue day"]
    assert other.differences() == []


def paid_by(orders: list[dict[str, Any]], grain: str) -> dict[datetime | None, Decimal]:
    """The totals of the orders that are paid, by the beginning of their day or minute."""
    found: dict[datetime | None, Decimal] = defaultdict(Decimal)
    for order in orders:
        if order["status"] == "paid":
            at = datetime.fromisoformat(order["order_date"]).replace(second=0, microsecond=0)
            start = at if grain == "minute" else at.replace(hour=0, minute=0)
            found[None if grain == "all" else start] += Decimal(order["total_amount"])
    return found


def start_of(row: dict[str, Any]) -> datetime | None:
    return datetime.fromisoformat(row["start"]) if "start" in row else None


def with_cancelled(row: dict[str, Any], more: Decimal) -> dict[str, Any]:
    """A row of revenue, if that much more had been cancelled."""
    cancelled, net = (Decimal(row["cancelled"]) + more, Decimal(row["net"]) - more)
    return row | {"cancelled": str(cancelled), "net": str(net)}


@pytest.mark.longhaul
def test_a_part_is_made_anew_out_of_the_live_lake(time_machine, tmp_path: Path):
    machine = time_machine(seed=5, records=900)
    machine.to(700)
    tree = changed_tree(tmp_path / "tree")
    with pytest.raises(AssertionError, match=r"there are others: add --metric revenue"):
        machine.replay(tree=tree, tables=["daily_sales"])
    with pytest.raises(AssertionError, match=r"raw_orders is made of the records themselves"):
        machine.replay(tables=["raw_orders"])
    with pytest.raises(AssertionError, match=r"saw profit"):
        machine.replay(metrics=["profit"])

    other = machine.replay(tree=tree, metrics=["revenue"], tables=["daily_sales", "dim_products"])
    assert other.differences() == []
    assert {each.title for each in machine.diff().differing} == {"revenue by day", "revenue in all"}
    machine.to(900, "materializer.after_commit")
    assert other.differences() == machine[1].differences() == []
    found = machine.diff()
    assert {each.title for each in found.differing} == {"revenue by day", "revenue in all"}
    mine, theirs = seen(machine, 1), seen(machine, other.number)
    assert {name for name in mine if mine[name] != theirs[name]} == {"revenue"}


@pytest.mark.cases(0)
def test_time_goes_forth_and_a_kill_that_kills_nothing_is_none(time_machine, tmp_path: Path):
    machine = time_machine(records=50)
    with pytest.raises(ValueError, match="an environment without a history"):
        time_machine(records=50)
    machine.to(20)
    with pytest.raises(ValueError, match="time goes forth"):
        machine.to(10)
    with pytest.raises(ValueError, match="to 50, since there are so many records; saw 51"):
        machine.to(51)
    with pytest.raises(AssertionError, match=r"nothing came to failpoint lake\.nowhere in g1"):
        machine.to(30, "lake.nowhere")
    half = tmp_path / "half"
    (half / "schemas").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"a copy of DataFlow in .*half, and it has no infra, sources"):
        machine.replay(tree=half)


@pytest.mark.cases(0)
def test_a_trial_is_of_the_records_from_there_on_and_never_becomes_live(time_machine):
    """Offsets of one partition and a time for the others, then one topic by itself: exact, told, and refused."""
    machine = time_machine(seed=9, records=600)
    machine.to(300)
    middle, then = machine.offsets, machine.clock.now()
    machine.to(500)
    with pytest.raises(AssertionError, match=r"expected source topics: .*; saw refunds"):
        machine.replay(topics=["refunds"])
    with pytest.raises(AssertionError, match=r"leave one of them out"):
        machine.replay(topics=["orders"], metrics=["revenue"])

    # The broker's times are the story's.
    place = ("orders", 0)
    with pytest.raises(ValueError, match="a time with a time zone"):
        machine.replay(since=then.replace(tzinfo=None))
    trial = machine.replay(since=then + timedelta(seconds=1), offsets={place: middle[place] - 1})
    assert trial.differences() == []
    machine.to(600, "materializer.after_commit")
    assert trial.differences() == []
    wanted = {at: end - middle[at] + (at == place) for at, end in machine.offsets.items()}
    counted: dict[str, int] = defaultdict(int)
    for (topic, _), records in wanted.items():
        counted[topic] += records
    assert {row["topic"]: row["records"] for row in trial.rows("events", by="topic")} == {
        topic: records for topic, records in counted.items() if records
    }
    later = [
        row for row in machine[1].table("orders") if row["_offset"] >= middle["orders", row["_partition"]]
    ]
    seen_by_both = {(row["_partition"], row["_offset"]) for row in trial.table("orders")}
    assert later
    assert {(row["_partition"], row["_offset"]) for row in later} <= seen_by_both
    found = machine.diff()
    assert (found.one.fewer, found.other.fewer) == (0, sum(middle.values()) - 1)
    assert f"g2 begins behind {sum(middle.values()) - 1:,} records of the other one" in " ".join(
        words.others(found)
    )
    with pytest.raises(ReplayError, match="g2 is a trial of some"):
        promote(machine.settings, 2, Guards(True, 1.0, True, True))

    machine.cancel(2)
    alone = machine.replay(topics=["customers"])
    assert alone.differences() == []
    assert {row["topic"] for row in alone.rows("events", by="topic")} == {"customers"}
    assert alone.table("customers") == machine[1].table("customers")
    assert alone.table("orders") == []


@pytest.mark.cases(0)
def test_a_history_may_lie_ahead_and_what_was_put_in_since_is_compared_too(time_machine, clock):
    clock.set(datetime.now(UTC) + timedelta(days=800))
    machine = time_machine(records=40)
    machine.to(20)
    order = machine.stream.produce("orders", total_amount="10.00")
    machine.clock.advance(days=400)
    with pytest.raises(AssertionError, match=r"nothing came to failpoint lake\.nowhere in g2"):
        machine.replay(failpoint="lake.nowhere")
    machine.stream.change(order, status="paid")
    again = machine.replay()
    assert machine.diff().equal
    machine.stream.change(order, status="cancelled")
    assert machine.diff().equal
    then = machine.clock.now()
    machine.to(40)
    for each in (machine[1], again):
        assert [row["status"] for row in each.table("orders")] == ["cancelled"]
        # The shop's story has gone on from there.
        records = sorted(each.table("raw_products"), key=lambda row: (row["partition"], row["offset"]))
        for one, following in pairwise(records):
            if one["partition"] == following["partition"]:
                assert one["kafka_time"] <= following["kafka_time"]
        days = {datetime.fromisoformat(row["kafka_time"]) - then > timedelta() for row in records}
        assert days == {False, True}
    machine.cancel(again.number)
    trial = machine.replay(since=then + timedelta(seconds=1))
    assert sum(row["records"] for row in trial.rows("events", by="topic")) == 20
    machine.cancel(trial.number)
    with pytest.raises(AssertionError, match=r"expected a time that has come"):
        machine.replay(since=machine.clock.now() + timedelta(days=1))
    machine.clock.set(then)
    with pytest.raises(ValueError, match=r"expected the clock where it was"):
        machine.to()

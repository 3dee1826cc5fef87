"""Tests of a topic of one's own, `returns` of docs/own-topic.md: contract, rules, metric, and the whole live path."""

import shutil
from pathlib import Path

import pytest

from dataflow.testing import ABORT, Abort

RETURNS = Path(__file__).parents[1] / "returns"

# Contract and rules: the verdict on one event, without any service.


def test_a_parcel_that_is_announced_is_accepted(judge):
    verdict = judge("returns", {"cause": "damaged", "note": "It fell from the table."})
    assert verdict.accepted
    assert verdict.event["cause"] == "damaged"
    assert "note" not in verdict.event, "personal data goes no further than Kafka"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"refund": "5.00"}, "refund_only_when_refunded"),
        ({"refund": "-5.00", "state": "refunded"}, "refund_minimum"),
        ({"cause": "bored"}, "cause_allowed"),
        ({"note": "x" * 1_001}, "note_text"),
        ({"return_id": "17"}, "return_id_is_uuid"),
    ],
)
def test_what_breaks_a_rule_is_refused(judge, fields, reason):
    assert judge("returns", fields).reasons == (reason,)


def test_damaged_bytes_are_refused(judge, events):
    _, value = judge.encode("returns", events("returns"))
    assert judge("returns", value[:-5]).reasons == ("undecodable",)


# The metric: its rows over events, in memory.


def test_a_parcel_counts_once_by_its_latest_state(metric, events):
    parcel = events("returns", cause="damaged")
    received = events.change(parcel, state="received")
    refunded = events.change(received, state="refunded", refund="39.90")
    [row] = metric("returns", [refunded, parcel, received, refunded])
    assert (row["parcels"], row["refunds"], row["refunded"]) == (1, 1, "39.90")


def test_refunds_are_counted_on_the_day_of_the_announcement(metric, events, clock):
    clock.set("2026-03-02T10:00:00Z")
    parcel = events("returns")
    clock.advance(days=5)
    rows = metric(
        "returns", [parcel, ABORT, events.change(parcel, state="refunded", refund="10.00")], grain="day"
    )
    assert [(row["start"], row["refunded"]) for row in rows] == [("2026-03-02T00:00:00Z", "10.00")]


def test_a_deleted_parcel_counts_no_longer(metric, events):
    parcel = events("returns")
    assert metric("returns", [parcel, events.delete(parcel)]) == []


# The whole live path: a broker, a registry, Valkey, the jobs, REST.


def test_it_is_counted_to_the_cent_through_crashes(stream, live):
    parcel = stream.produce("returns", cause="damaged")
    stream.produce_all(
        [
            ("returns", {"cause": "changed_mind"}),
            ABORT,
            stream.events.change(parcel.event, state="refunded", refund="39.90"),
            ("returns", {"refund": "1.00"}),
            Abort("materializer.after_dead_letters"),
            ("returns", {"cause": "damaged"}),
        ]
    )
    live.settled()
    rows = live.rows("returns", by="cause")
    assert [(row["cause"], row["parcels"], row["refunded"]) for row in rows] == [
        ("changed_mind", 1, "0.00"),
        ("damaged", 2, "39.90"),
    ]
    [letter] = live.dead_letters()
    assert letter.reasons == ("refund_only_when_refunded",)
    assert live.get("/v1/exactness")["exact"]


# A changed definition: what it will change, over a history, before it runs anywhere.


def test_a_changed_definition_changes_what_it_should_and_nothing_else(time_machine, tmp_path):
    machine = time_machine(records=300)  # a shop's own records, as a surrounding
    machine.to(250)
    damaged = machine.stream.produce("returns", cause="damaged")
    machine.clock.advance(days=2)
    machine.stream.produce_all(
        [
            machine.stream.events.change(damaged.event, state="refunded", refund="39.90"),
            ("returns", {"cause": "changed_mind", "state": "received"}),
        ]
    )
    machine.to(300, "materializer.before_commit")
    by_cause = {row["cause"]: row["refunds"] for row in machine[1].rows("returns", by="cause")}
    assert by_cause == {"changed_mind": 0, "damaged": 1}
    assert machine[1].differences() == []

    changed = shutil.copytree(RETURNS, tmp_path / "changed")
    definition = (changed / "metrics.py").read_text()
    (changed / "metrics.py").write_text(definition.replace("= 'refunded'", "IN ('received', 'refunded')"))
    fixed = machine.replay(contracts=changed)
    assert {each.title for each in machine.diff().differing} == {"returns by day", "returns in all"}
    by_cause = {row["cause"]: row["refunds"] for row in fixed.rows("returns", by="cause")}
    assert by_cause == {"changed_mind": 1, "damaged": 1}
    assert fixed.differences() == []

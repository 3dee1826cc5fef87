"""One suite for the pipelines of the kit, in memory, over a real Valkey, in processes, with Spark: all say the same."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from dataflow.testing import ABORT, Abort, Clock, Events, Ids, Live, Numbers, Offline, Raw
from schemas.contract import CONTRACTS
from schemas.metrics import METRICS
from serving.store.store import connect
from sources.generator import GroundTruth, ShopSimulator, moments
from tests.sources.generator_kit import ALL_UP, ARRIVAL, SPAN, START

TOLD = ("revenue", "items", "payments", "customers", "reviews", "funnel", "clicks")
RECORDS, PART = 1_200, 300
CRASHES = (ABORT, Abort("materializer.before_commit"), Abort("materializer.after_dead_letters"))

Rows = dict[tuple, dict[str, int]]


@pytest.fixture
def events() -> Events:
    """Of the moment at which the generator's history has arrived."""
    return Events(Clock(ARRIVAL), Ids())


@pytest.fixture(params=["memory", pytest.param("valkey", marks=pytest.mark.longhaul), "live"])
def pipeline(request: pytest.FixtureRequest, events: Events) -> Numbers:
    if request.param == "memory":
        return Offline(events)
    if request.param == "valkey":
        settings = request.getfixturevalue("settings")
        return Offline(events, settings=settings, redis=connect(settings))
    return request.getfixturevalue("live")


@pytest.mark.cases(1)
def test_an_untidy_shop_with_crashes_in_it_is_counted_to_the_cent(pipeline: Numbers) -> None:
    """Kills anywhere and at failpoints change no number, no verdict and no dead letter."""
    expect_untidy_shop(pipeline)


@pytest.mark.longhaul
@pytest.mark.slow
@pytest.mark.dataflow(live="spark")
def test_sparks_live_job_counts_the_untidy_shop_as_the_plain_one_does(live: Live) -> None:
    expect_untidy_shop(live)


def test_a_refused_record_is_told_with_its_reasons_and_its_bytes(pipeline: Numbers) -> None:
    expect_refusals(pipeline)


@pytest.mark.longhaul
@pytest.mark.slow
@pytest.mark.dataflow(live="spark")
def test_sparks_live_job_refuses_what_the_plain_one_does(live: Live) -> None:
    expect_refusals(live)


def expect_untidy_shop(pipeline: Numbers) -> None:
    stream, truth = pipeline.stream, GroundTruth()
    shop = ShopSimulator(11, START, stream.codec.schema_ids, ALL_UP, truth=truth)
    emissions = list(shop.emissions(moments(START, SPAN, RECORDS)))
    items: list[Raw | Abort] = [Raw(e.topic, e.key, e.value) for e in emissions]
    for number, crash in enumerate(CRASHES, 1):
        items.insert(number * PART + number - 1, crash)
    places = stream.produce_all(items)
    pipeline.settled(120)
    assert pipeline.kills == len(CRASHES)
    for metric in TOLD:
        for grain in ("minute", "day", "all"):
            assert rows_of(pipeline, metric, grain) == nonzero(truth.rows(metric, grain)), (metric, grain)
    verdicts = pipeline.verdicts()
    assert [(v.topic, v.partition, v.offset) for v in verdicts] == sorted(
        (at.topic, at.partition, at.offset) for at in places
    )
    counted = {row["topic"]: row for row in pipeline.rows("events", by="topic")}
    for topic in CONTRACTS:
        told = truth.verdicts(topic)
        assert {name: counted.get(topic, {}).get(name, 0) for name in told} == told
        assert len(pipeline.dead_letters(topic)) == told["refused"]
    for kind in ("changed", "repeat", "superseded", "refused"):
        assert sum(truth.verdicts(topic)[kind] for topic in CONTRACTS) > 10, f"the shop is too tidy: {kind}"
    assert pipeline.rows("active") == [next(iter(truth.rows("active", "all").values()))]


def expect_refusals(pipeline: Numbers) -> None:
    stream = pipeline.stream
    good = stream.produce("orders", total_amount="5.00", shipping_address="Herrengasse 1")
    bad = stream.produce("orders", total_amount="-1")
    raw = stream.produce_raw("orders", b"x", b"\x01 no Avro")
    null = stream.produce_raw("orders", b"x", None)
    large = stream.produce_raw("reviews", b"x", b"\0" * 300_000)
    unknown = stream.produce_raw("payments", b"x", b"\0\x7f\0\0\0 of no schema")
    conflict = stream.produce_raw(
        "orders", *stream.codec.encode("orders", {**good.event, "event_id": bad.event["event_id"], "status": "paid"})
    )  # fmt: skip
    pipeline.settled()
    expected = {
        bad: ("total_amount_minimum",),
        raw: ("wrong_magic_byte",),
        null: ("null_value",),
        large: ("too_large",),
        unknown: ("unknown_schema_id",),
        conflict: ("version_conflict",),
    }
    letters = {letter.place: letter for letter in pipeline.dead_letters()}
    assert {at: letter.reasons for at, letter in letters.items()} == expected
    assert (letters[raw].key, letters[raw].value) == (b"x", b"\x01 no Avro")
    assert letters[null].null_value
    assert len(letters[large].value) == 4096
    kinds = {(v.topic, v.partition, v.offset): v for v in pipeline.verdicts()}
    assert kinds[good.topic, good.partition, good.offset].accepted
    assert kinds[unknown.topic, unknown.partition, unknown.offset].kind == "undecided"
    assert [place.topic for place in letters if place.topic != "orders"] == ["payments", "reviews"]
    assert {letter.place for letter in pipeline.dead_letters("reviews")} == {large}
    [verdict] = [v for v in pipeline.verdicts("orders") if v.accepted and v.offset == good.offset]
    assert "shipping_address" not in verdict.event


@pytest.mark.cases(1)
def test_rows_are_split_filtered_and_ordered_by_time(pipeline: Numbers, events: Events) -> None:
    stream = pipeline.stream
    for day, country, amount in ((2, "AT", "1.00"), (3, "DE", "2.00"), (3, None, "4.00"), (9, "AT", "8.50")):
        events.clock.set(f"2026-03-{day:02}T23:30:00Z")
        stream.produce("orders", total_amount=amount, shipping_country=country)
    changed = stream.produce("orders", total_amount="16.00")
    stream.change(changed, status="cancelled")
    gone = stream.produce("orders", total_amount="32.00")
    stream.delete(gone)
    pipeline.settled()
    by_day = pipeline.rows("revenue", "day", by="shipping_country")
    assert [(row["start"][:10], row["shipping_country"], row["net"]) for row in by_day] == [
        ("2026-03-02", "AT", "1.00"),
        ("2026-03-03", "DE", "2.00"),
        ("2026-03-03", None, "4.00"),
        ("2026-03-09", "AT", "8.50"),
        ("2026-03-09", None, "0.00"),
    ]
    assert [row["gross"] for row in pipeline.rows("revenue", "minute")] == ["1.00", "6.00", "24.50"]
    [filtered] = pipeline.rows("revenue", where={"shipping_country": ["AT", None]})
    assert (filtered["gross"], filtered["cancelled"], filtered["orders"]) == ("29.50", "16.00", 4)
    assert pipeline.rows("revenue", "hour", where={"shipping_country": "FR"}) == []
    assert pipeline.rows("items", "day") == []


def rows_of(pipeline: Numbers, metric: str, grain: str) -> Rows:
    """All rows of a metric in the form of the ground truth: (start, *dimensions) → measures in minor units."""
    declared = METRICS[metric]
    by: Sequence[str] = getattr(declared, "by", ())
    found = {}
    for row in pipeline.rows(metric, grain, by=by):
        start = int(datetime.fromisoformat(row["start"]).timestamp()) if grain != "all" else 0
        measures = {m.name: minor(row[m.name]) for m in declared.measures}
        found[start, *(row[name] or "" for name in by)] = measures
    return nonzero(found)


def minor(value: Any) -> int:
    """Money leaves the house as text with two decimals."""
    return int(value.replace(".", "")) if isinstance(value, str) else value


def nonzero(rows: Rows) -> Rows:
    kept = {key: {name: n for name, n in row.items() if n} for key, row in rows.items()}
    return {key: row for key, row in kept.items() if row}

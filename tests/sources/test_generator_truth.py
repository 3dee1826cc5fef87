"""The ground truth equals what a plain recomputation finds in the bytes that were delivered.

See `recomputation.py`.
"""

import json
from datetime import timedelta

import pytest

from schemas.contract import CONTRACTS
from sources.generator import Dials, GroundTruth, ShopSimulator, moments
from sources.generator.truth import UnknownMetric
from tests.sources.generator_kit import ALL_UP, IDS, START, history
from tests.sources.recomputation import METRICS, Recomputed

ZONES = ("UTC", "America/New_York", "Asia/Kolkata")


def recomputed_from(emissions) -> Recomputed:
    return Recomputed((e.topic, e.key, e.value) for e in emissions)


def without_zeros(rows: dict) -> dict:
    return {key: {name: n for name, n in row.items() if n} for key, row in rows.items()}


@pytest.fixture(scope="module")
def delivered():
    emissions, truth = history(ALL_UP)
    return recomputed_from(emissions), truth


@pytest.mark.parametrize("topic", list(CONTRACTS))
def test_every_verdict_is_counted_as_a_recomputation_counts_it(delivered, topic):
    recomputed, truth = delivered
    found = truth.verdicts(topic)
    assert {name: n for name, n in found.items() if n} == dict(recomputed.verdicts[topic])
    assert found["records"] == sum(n for name, n in found.items() if name != "records")


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("grain", ["minute", "hour", "day", "all"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_figure_is_what_a_recomputation_finds(delivered, metric, grain, tz):
    recomputed, truth = delivered
    expected = recomputed.rows(metric, grain, tz)
    found = truth.rows(metric, grain, tz)
    assert without_zeros(found) == expected
    assert len(found) > 0


def test_active_sessions_and_visitors_are_what_a_recomputation_finds(delivered):
    recomputed, truth = delivered
    assert truth.rows("active", "all") == recomputed.rows("active", "all", "UTC")


def test_categories_are_those_of_the_current_products(delivered):
    recomputed, truth = delivered
    assert truth.categories() == {p["product_id"]: p["category"] for p in recomputed.current("products")}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_truth_holds_after_any_number_of_records_and_for_any_seed(seed):
    truth = GroundTruth()
    simulator = ShopSimulator(seed, START, IDS, Dials(0.5, 0.4, 0.6, 0.3, 0.3, 0.5), truth=truth)
    emissions = []
    for e in simulator.emissions(moments(START, timedelta(days=8), 3000)):
        emissions.append(e)
        if len(emissions) in (1, 500, 3000):
            recomputed = recomputed_from(emissions)
            for topic in CONTRACTS:
                assert {k: n for k, n in truth.verdicts(topic).items() if n} == dict(
                    recomputed.verdicts[topic]
                )
            for metric in ("revenue", "items", "payments", "customers", "reviews", "funnel"):
                found = truth.rows(metric, "hour")
                expected = recomputed.rows(metric, "hour", "UTC")
                assert without_zeros(found) == expected


def test_live_runs_keep_their_truth_too():
    truth = GroundTruth()
    simulator = ShopSimulator(9, START, IDS, ALL_UP, live=True, truth=truth)
    emissions = [simulator.next(START + timedelta(milliseconds=50 * n)) for n in range(6000)]
    recomputed = recomputed_from(emissions)
    for metric in ("revenue", "payments", "funnel"):
        found = truth.rows(metric, "minute")
        expected = recomputed.rows(metric, "minute", "UTC")
        assert without_zeros(found) == expected


def test_before_the_first_record_there_are_no_rows():
    truth = GroundTruth()
    assert truth.rows("active", "all") == truth.rows("revenue", "all") == truth.rows("clicks", "day") == {}
    assert set(truth.verdicts("orders").values()) == {0}


@pytest.mark.parametrize(("metric", "grain"), [("profit", "day"), ("revenue", "year"), ("active", "day")])
def test_an_unknown_metric_or_grain_is_explained(metric, grain):
    with pytest.raises(UnknownMetric, match=metric):
        GroundTruth().rows(metric, grain)


def test_the_truth_can_be_written_as_json(delivered):
    _, truth = delivered
    document = json.loads(json.dumps(truth.as_json("Asia/Kolkata")))
    assert document["time_zone"] == "Asia/Kolkata"
    (bucket, method, country, measures), *_ = document["rows"]["revenue"]["day"]
    assert truth.rows("revenue", "day", "Asia/Kolkata")[bucket, method, country] == measures

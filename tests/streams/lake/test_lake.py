"""The lake holds every record, and what it says of them a second computation says too: whatever is killed when."""

import shutil

import pytest

from infra.entry import EXIT_TERMINAL, EXIT_TRANSIENT
from schemas.contract import CONTRACTS
from schemas.tables import TABLES
from streams.lake.checkpoint import Checkpoint
from tests.e2e.kit import Shop
from tests.helpers import wait_for
from tests.streams.lake.kit import LakeProcess, bootstrap, verified

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def by_outcome(counts):
    """Records by topic and outcome, of the counts by partition."""
    total = {}
    for name, number in counts.items():
        topic, _, outcome = name.split("/")
        total[topic, outcome] = total.get((topic, outcome), 0) + number
    return total


def expect_truth(shop, manifest):
    """Every record is counted as what the generator meant it to be."""
    truth = {
        (topic, outcome): number
        for topic in CONTRACTS
        for outcome, number in shop.truth.verdicts(topic).items()
        if outcome != "records" and number
    }
    assert by_outcome(manifest.counts) == truth


def test_the_lake_equals_the_second_computation(settings):
    bootstrap(settings)
    shop = Shop(settings, 20_000, 11)
    shop.produce(4_000)
    with LakeProcess(settings) as lake:
        lake.launch()
        lake.settle()
        shop.produce(2_000)
        manifest = lake.settle()
    expect_truth(shop, manifest)
    verdict = verified(settings)
    assert verdict.manifest.number >= 2
    empty = {difference.table for difference in verdict.differences if not difference.rows}
    assert empty <= {"reviews", "raw_reviews"}, "equal because there is nothing"
    assert {table for table in TABLES if not table.startswith("raw_")} <= {
        d.table for d in verdict.differences
    }


KILLS = (
    "lake.before_append_raw_orders",
    "lake.after_append_raw_orders",
    "lake.after_bronze",
    "lake.after_append_orders",
    "lake.before_append_quarantine",
    "lake.after_silver",
    "lake.before_manifest",
    "lake.after_manifest",
    "lake.before_checkpoint",
)


@pytest.mark.longhaul
def test_killed_around_every_write_the_tables_are_the_same(settings):
    bootstrap(settings)
    shop = Shop(settings, 20_000, 12)
    for failpoint in (*KILLS, "lake.before_take_back", "lake.after_take_back"):
        shop.produce(700)
        # Only a batch that died half-way leaves something to take back.
        first = "lake.after_append_orders" if failpoint.endswith("take_back") else failpoint
        for point in dict.fromkeys((first, failpoint)):
            marker = settings.state_dir / "failpoints" / point
            marker.unlink(missing_ok=True)
            with LakeProcess(settings.replace(dataflow_failpoint=point)) as lake:
                lake.launch()
                wait_for(lambda: lake.poll() is not None, 180, f"the kill at {point}")
            assert marker.exists(), f"nothing was killed at {point}"
    with LakeProcess(settings) as lake:
        lake.launch()
        manifest = lake.settle()
    expect_truth(shop, manifest)
    verified(settings)


@pytest.mark.longhaul
def test_a_second_driver_of_a_generation_is_sent_away_before_it_writes(settings):
    bootstrap(settings)
    shop = Shop(settings, 20_000, 13)
    shop.produce(500)
    with LakeProcess(settings) as lake, LakeProcess(settings) as other:
        lake.launch()
        lake.settle()
        other.launch()
        wait_for(lambda: other.poll() is not None, 120, "the end of the second one")
        assert other.poll() == EXIT_TRANSIENT
        assert "one driver" in other.log()
        shop.produce(500)
        manifest = lake.settle()
    expect_truth(shop, manifest)
    verified(settings)


@pytest.mark.longhaul
def test_a_lost_checkpoint_is_an_error_with_two_ways_out(settings):
    bootstrap(settings)
    shop = Shop(settings, 20_000, 14)
    shop.produce(500)
    with LakeProcess(settings) as lake:
        lake.launch()
        lake.settle()
        lake.stop()
        checkpoint = Checkpoint(settings, lake.generation.name)
        shutil.rmtree(checkpoint.directory)
        shop.produce(500)
        lake.launch()
        wait_for(lambda: lake.poll() is not None, 120, "the refusal")
        assert lake.poll() == EXIT_TERMINAL
        assert "dataflow lake resume" in lake.log()
        assert "dataflow generation new" in lake.log()
        checkpoint.resume()
        lake.launch()
        manifest = lake.settle()
    expect_truth(shop, manifest)
    verified(settings)

"""The lake holds every record, and what it says of them a second computation says too: whatever is killed when."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from deltalake import DeltaTable
from pyspark.errors import StreamingQueryException

from infra.entry import EXIT_TERMINAL, EXIT_TRANSIENT
from schemas.contract import CONTRACTS
from schemas.errors import GenerationError
from schemas.tables import TABLES
from streams.lake.checkpoint import Checkpoint
from streams.lake.job import LakeJob
from streams.lake.place import MANIFESTS, lake_root
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


def expect_told(root, manifest):
    """The batches' commits say of which offsets they are: all from the beginning on, without a gap."""
    log = DeltaTable(f"{root}/{MANIFESTS}").history()
    told = {int(each["batch"]): json.loads(each["offsets"]) for each in log if "batch" in each}
    assert sorted(told) == list(range(1, manifest.number + 1))
    reached = {}
    for number in sorted(told):
        assert {place: since for place, (since, _) in told[number].items()} == {
            place: reached.get(place, 0) for place in told[number]
        }
        reached = {place: until for place, (_, until) in told[number].items()}
    assert reached == {f"{topic}/{p}": until for (topic, p), until in manifest.until.items()}
    for name in ("raw_orders", "orders", "fct_orders"):
        own = [each for each in DeltaTable(f"{root}/{name}").history() if "batch" in each]
        assert own
        assert all(json.loads(each["offsets"]) == told[int(each["batch"])] for each in own)


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
    expect_told(lake_root(settings, "g1"), manifest)
    verdict = verified(settings)
    assert verdict.manifest.number >= 2
    empty = {difference.table for difference in verdict.differences if not difference.rows}
    assert empty <= {"reviews", "raw_reviews", "raw_reviews as sent"}, "equal because there is nothing"
    assert {table for table in TABLES if not table.startswith("raw_")} <= {
        d.table for d in verdict.differences
    }


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
        # What was decided holds until a new checkpoint is there.
        with LakeProcess(settings.replace(dataflow_failpoint="lake.before_query")) as killed:
            killed.launch()
            wait_for(lambda: killed.poll() is not None, 120, "the kill before the query starts")
        assert (settings.state_dir / "failpoints" / "lake.before_query").exists()
        lake.launch()
        manifest = lake.settle()
    expect_truth(shop, manifest)
    verified(settings)


@pytest.mark.longhaul
def test_a_lake_that_is_not_there_any_more_is_not_founded_anew(settings):
    """As when LAKE_URI is not mounted, or somebody has removed what he took for a log."""
    bootstrap(settings)
    shop = Shop(settings, 20_000, 15)
    shop.produce(500)
    root, away = Path(lake_root(settings, "g1")), settings.state_dir / "away"
    with LakeProcess(settings) as lake:
        lake.launch()
        before = lake.settle()
        # Until Spark, too, has finished the batch nobody can tell a lake that is gone from one that has not begun.
        commits = Checkpoint(settings, "g1").directory / "commits"
        wait_for(lambda: any(commits.glob("[0-9]*")), 60, "the commit of the first batch")
        lake.stop()
        for lost, told in (
            (root, "the checkpoint in"),
            (root / MANIFESTS, "there are none"),
            (root / "orders", "orders"),
        ):
            lost.rename(away)
            lake.launch()
            wait_for(lambda: lake.poll() is not None, 120, "the refusal")
            assert lake.poll() == EXIT_TERMINAL
            assert "LostLake: expected" in lake.log()
            assert told in lake.log().splitlines()[-1]
            assert not lost.exists(), "it was founded anew"
            away.rename(lost)
        shop.produce(500)
        lake.launch()
        manifest = lake.settle()
        assert manifest.number > before.number
    expect_truth(shop, manifest)
    verified(settings)


def test_a_query_that_fails_before_it_is_looked_at_sees_that_its_topics_are_others_now():
    job, looked = object.__new__(LakeJob), []

    class World:
        def check(self):
            looked.append(True)
            if len(looked) == 3:
                raise GenerationError("orders was created again")

    def fails():
        raise StreamingQueryException("offsets changed")

    job.stop, job.batches = SimpleNamespace(asked=False), SimpleNamespace(manifest=SimpleNamespace(number=1))
    job.world, job.run_query, job.wait, job.failure, job.failures = World(), fails, lambda _: None, None, 0
    with pytest.raises(GenerationError, match="created again"):
        job.run()
    assert job.failures == 3


def finished(checkpoint):
    """Whether Spark has finished all that it has planned."""
    planned, done = (
        {each.name for each in checkpoint.glob(f"{log}/[0-9]*")} for log in ("offsets", "commits")
    )
    return planned and planned == done


@pytest.mark.longhaul
def test_a_checkpoint_or_a_lake_out_of_a_backup_does_no_harm(settings):
    """The range of a batch is from the manifest's offsets to where the checkpoint ends it, whichever is older."""
    bootstrap(settings)
    shop = Shop(settings, 20_000, 16)
    root = Path(lake_root(settings, "g1"))
    with LakeProcess(settings) as lake:
        checkpoint = Checkpoint(settings, lake.generation.name).directory
        for backed_up in (checkpoint, root):
            for _ in range(2):
                shop.produce(400)
                lake.launch()
                lake.settle()
                # What Spark has not finished it does again; here it has, and the lake out of the backup has not.
                wait_for(lambda: finished(checkpoint), 60, "the end of the query's batch")
                lake.stop()
                if not (settings.state_dir / "backup").exists():
                    shutil.copytree(backed_up, settings.state_dir / "backup")
            shutil.rmtree(backed_up)
            (settings.state_dir / "backup").rename(backed_up)
            lake.launch()
            expect_truth(shop, lake.settle())
            shop.produce(400)
            manifest = lake.settle()
            lake.stop()
            expect_truth(shop, manifest)
            verified(settings)

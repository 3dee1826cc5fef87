"""The lake job is killed at failpoints and at random moments, while records come and upkeep works.

Every record counts once, and the tables are right. Each single write is killed in tests/streams/lake/test_kills.py.
"""

import random
import signal
import time

import pytest

from infra.bootstrap import bootstrap
from tests.chaos.conftest import SEED
from tests.e2e.kit import Shop
from tests.e2e.lake_kit import LakeJob
from tests.helpers import wait_for
from tests.streams.lake import points
from tests.streams.lake.test_lake import expect_truth

KILLS = 10
RATE = 150  # records a second
MOST_SECONDS = 8.0  # from a batch to the kill
KILL_SECONDS = 300  # from a start to its kill
MOST_HITS = 3
APPENDS = 12  # single tables' writes that are killed here
RARE = ("dim_date", "conversion_funnel")  # not every batch has a row for them
pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(2_400)]


def test_killed_around_each_step_of_the_job_under_load_every_record_counts_once(settings):
    chance = random.Random(SEED)
    settings = settings.replace(kafka_partitions=2, lake_trigger_seconds=0)
    bootstrap(settings)
    shop = Shop(settings, 500_000, 42)
    shop.produce(500)
    steps = [point for point in points.BATCH if point not in points.APPENDS]
    appends = chance.sample([point for point in points.APPENDS if not point.endswith(RARE)], APPENDS)
    todo = [*points.QUERY, *steps, *appends, *points.UPKEEP, *points.TAKE_BACK]
    chance.shuffle(todo)
    with LakeJob(settings, "tests.e2e.busy_lake") as job:
        with shop.flowing(RATE):
            for point in todo:
                if point in points.TAKE_BACK:
                    killed_at(job, points.HALF_WAY, 1)
                killed_at(job, point, 1 if point == "lake.before_query" else chance.randint(1, MOST_HITS))
            job.launch()
        manifest = job.settle()
        job.terminate()
        assert job.ended() == 0
    expect_truth(shop, manifest)


def killed_at(job, point, hits):
    """Start the job and have it killed there."""
    marker = job.settings.state_dir / "failpoints" / point
    marker.unlink(missing_ok=True)
    job.forget()
    job.launch(dataflow_failpoint=f"{point}:{hits}")
    assert job.ended(KILL_SECONDS) == -signal.SIGKILL, job.log()
    assert marker.exists(), f"something else than {point} has killed it"


def test_killed_at_random_moments_under_load_every_record_counts_once(settings):
    chance = random.Random(41)
    settings = settings.replace(kafka_partitions=2, lake_trigger_seconds=0)
    bootstrap(settings)
    shop = Shop(settings, 500_000, 41)
    shop.produce(500)
    with LakeJob(settings, "tests.e2e.busy_lake") as job:
        with shop.flowing(RATE):
            for _ in range(KILLS):
                before = job.newest()

                def written(before=before):
                    job.tend()
                    return job.newest() > before

                wait_for(written, 300, "the next batch")
                time.sleep(chance.uniform(0, MOST_SECONDS))
                job.kill()
                job.launch()
        manifest = job.settle()
        job.terminate()
        assert job.ended() == 0
    expect_truth(shop, manifest)
    assert job.log_file.read_text("utf-8").count("upkeep of") > KILLS

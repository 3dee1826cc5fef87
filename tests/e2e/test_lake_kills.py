"""The lake job is killed at random moments, while records come and upkeep works: every record counts once."""

import random
import time

import pytest

from infra.bootstrap import bootstrap
from tests.e2e.kit import Shop
from tests.e2e.lake_kit import LakeJob
from tests.helpers import wait_for
from tests.streams.lake.test_lake import expect_truth

KILLS = 10
RATE = 150  # records a second
MOST_SECONDS = 8.0  # from a batch to the kill
pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(2_400)]


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

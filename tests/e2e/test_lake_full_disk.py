"""The disk of the lake and its checkpoint is full: the job stops, nothing is torn, and room brings all back."""

import pytest

from infra.bootstrap import bootstrap
from infra.entry import EXIT_TRANSIENT
from schemas.tables import TABLES
from serving.lake.views import connect, quoted
from tests.bad_input.test_full_disk import tiny_disk
from tests.e2e.kit import Shop
from tests.e2e.lake_kit import LakeJob
from tests.helpers import wait_for
from tests.streams.lake.test_lake import expect_truth

FULL = "No space left on device"
LEFT = (0, 24, 64, 128)  # KiB: it ends at one of the first tables, or at a later one
pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(1_800)]


def test_a_full_disk_stops_it_at_any_write_and_room_brings_it_back(settings, tmp_path):
    with tiny_disk(tmp_path / "lake", "64m") as disk, tiny_disk(tmp_path / "plans", "8m") as plans:
        settings = settings.replace(
            kafka_partitions=2, lake_uri=str(tmp_path / "lake" / "tables"), lake_trigger_seconds=1
        )
        bootstrap(settings)
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        (settings.state_dir / "checkpoints").symlink_to(tmp_path / "plans")
        shop = Shop(settings, 50_000, 51)
        shop.produce(500)
        with LakeJob(settings) as job:
            manifest = job.settle()

            # It cannot plan a batch: it tries again by itself, and has written nothing.
            plans.fill()
            shop.produce(300)
            wait_for(lambda: FULL in job.log(), 120, "a batch that cannot be planned")
            assert job.lake().newest() == manifest
            plans.make_room()
            manifest = job.settle()

            ended_at = set()
            for left in LEFT:
                before = everything(job, manifest)
                disk.fill()
                disk.leave(left << 10)
                shop.produce(700)
                # It cannot write a table: it ends, and so does the next one, which cannot take back what is there.
                for _ in range(2):
                    assert job.ended(180) == EXIT_TRANSIENT
                    last = job.log().splitlines()[-1]
                    assert last.startswith("Unfinished: could not write")
                    assert FULL in last
                    assert (job.lake().newest(), everything(job, manifest)) == (manifest, before)
                    ended_at.add(last)
                    disk.fill()
                    job.launch()
                job.kill()
                disk.make_room()
                job.launch()
                manifest = job.settle()
            assert len(ended_at) > len(LEFT), "it always ended at the same write"
            job.terminate()
            assert job.ended() == 0
        expect_truth(shop, manifest)


def everything(job, manifest):
    """Every table, as its readers see it."""
    with connect(job.lake().root, manifest) as lake:
        return {
            name: sorted(lake.execute(f"SELECT * FROM {quoted(name)}").fetchall(), key=repr)
            for name in TABLES
        }

"""A lake or a checkpoint of which a part is gone, and starts that are refused: nothing is written over what is left."""

import json
import random
import shutil
from pathlib import Path

import pytest

from infra.generations import Generation
from infra.kafka import TopicIdentity
from schemas.tables import TABLES
from streams.lake.checkpoint import Checkpoint, LostCheckpoint
from streams.lake.halfway import Unfinished
from streams.lake.lost import LostLake
from streams.lake.place import MANIFESTS
from streams.lake.store import LakeStore
from tests.helpers import isolated_settings
from tests.streams.lake.restless import events
from tests.streams.lake.shop import judged_events
from tests.streams.lake.test_batches import Driver, cut, expect_right


def driven(home, number=3):
    """A lake of so many batches, and those that follow."""
    batches = list(cut(judged_events(events(31, 200)), random.Random(31), 10))
    driver = Driver(home)
    for batch in batches[:number]:
        driver.run(batch)
    return driver, batches[number:]


def files_of(root):
    """Every file below a directory, with its content."""
    return {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


@pytest.mark.parametrize("lost", [MANIFESTS, "orders", "raw_orders"])
@pytest.mark.cases(1)
def test_a_part_of_a_lake_that_is_gone_is_told_and_what_is_left_stays_as_it_is(tmp_path, lost):
    driver, rest = driven(tmp_path)
    table, away = Path(driver.store.uri(lost)), tmp_path / "away"
    table.rename(away)
    before = files_of(driver.root)
    with pytest.raises(LostLake, match=r"orders.*LAKE_URI.*`dataflow generation new`"):
        Driver(tmp_path)
    assert files_of(driver.root) == before
    away.rename(table)
    driver = Driver(tmp_path)
    for batch in rest:
        driver.run(batch)
    expect_right(driver.root, driver.manifest)


def test_a_first_batch_that_died_before_its_manifest_is_no_lost_lake(tmp_path):
    """Nothing is finished yet; where the table of the manifests is gone, or a second batch was there, something is."""
    driver = Driver(tmp_path)
    first, second = list(cut(judged_events(events(31, 200)), random.Random(31), 40))[:2]
    append, died = driver.store._append, []

    def dies_at_gold(name, rows, note):
        if TABLES.get(name) is None or TABLES[name].layer == "gold":
            died.append(name)
            raise OSError("killed")
        append(name, rows, note)

    driver.store._append = dies_at_gold
    with pytest.raises(Unfinished):
        driver.run(first)
    assert died
    store = LakeStore(driver.root, driver.store.failpoints)
    assert store.newest_manifest() is None
    store.expect_none()
    manifests, away = Path(store.uri(MANIFESTS)), tmp_path / "away"
    manifests.rename(away)
    with pytest.raises(LostLake, match="expected manifests beside the tables"):
        store.expect_none()
    away.rename(manifests)
    store.close()
    driver = Driver(tmp_path)
    driver.run(first)
    driver.run(second)
    shutil.rmtree(manifests)
    with pytest.raises(LostLake, match="expected manifests beside the tables"):
        driver.store.expect_none()


def test_a_table_out_of_a_backup_is_told(tmp_path):
    driver, rest = driven(tmp_path)
    table = Path(driver.store.uri("orders"))
    shutil.copytree(table, tmp_path / "backup")
    driver.run(rest[0])
    shutil.rmtree(table)
    (tmp_path / "backup").rename(table)
    with pytest.raises(LostLake, match="manifest 4 names, and orders are missing or older"):
        Driver(tmp_path)


def test_a_log_of_manifests_that_is_empty_again_is_told(tmp_path):
    driver, _ = driven(tmp_path)
    shutil.rmtree(driver.store.uri(MANIFESTS))
    LakeStore(str(tmp_path / "other"), driver.store.failpoints).open("g1")
    (tmp_path / "other" / MANIFESTS).rename(driver.store.uri(MANIFESTS))
    with pytest.raises(LostLake, match=r"there are none, while .*orders"):
        Driver(tmp_path)


def test_a_first_batch_that_dies_before_its_manifest_is_no_loss(tmp_path):
    driver, batches = driven(tmp_path, 0)
    seal = LakeStore._seal
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patched:

            def dies(store, manifest, *note):
                if manifest.number:
                    raise KeyboardInterrupt
                return seal(store, manifest, *note)

            patched.setattr(LakeStore, "_seal", dies)
            with pytest.raises(KeyboardInterrupt):
                driver.run(batches[0])
        driver = Driver(tmp_path)
    for batch in batches:
        driver.run(batch)
    expect_right(driver.root, driver.manifest)


def test_a_checkpoint_with_finished_batches_and_no_lake_is_told(tmp_path):
    checkpoint = Checkpoint(isolated_settings(tmp_path), "g1")
    generation = Generation(1, {"orders": TopicIdentity("id", 2)}, {"orders": [7, 0]})

    def look():
        checkpoint.expect_no_batch("/mnt/lake/demo/g1", generation, "demo.")

    def planned(batch, **ends):
        text = f"v1\n{{}}\n{json.dumps({'demo.orders': {name[1:]: end for name, end in ends.items()}})}"
        (checkpoint.directory / "offsets" / str(batch)).write_text(text)

    look()
    (checkpoint.directory / "offsets").mkdir(parents=True)
    planned(0, p0=7, p1=0)
    look()  # planned, and it died
    (checkpoint.directory / "commits").mkdir()
    (checkpoint.directory / "commits" / "0").touch()
    look()  # before there was a record, Spark has finished a batch of none
    planned(1, p0=7, p1=4)
    look()
    (checkpoint.directory / "commits" / "1").touch()
    with pytest.raises(LostLake, match="at /mnt/lake/demo/g1, and there is none"):
        look()


def test_going_on_without_a_checkpoint_is_allowed_until_there_is_one(tmp_path):
    """A process that dies before Spark has planned a batch must not use the permission up."""
    driver, _ = driven(tmp_path / "lake", 1)
    checkpoint = Checkpoint(isolated_settings(tmp_path), "g1")
    with pytest.raises(LostCheckpoint):
        checkpoint.check(driver.manifest)
    checkpoint.resume()
    for _ in range(3):
        checkpoint.check(driver.manifest)
    (checkpoint.directory / "offsets").mkdir(parents=True)
    (checkpoint.directory / "offsets" / "0").touch()
    checkpoint.begun()
    checkpoint.check(driver.manifest)
    shutil.rmtree(checkpoint.directory)
    with pytest.raises(LostCheckpoint):
        checkpoint.check(driver.manifest)

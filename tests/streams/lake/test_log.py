"""The tables' logs stay short: no commit looks for what is old in them, upkeep removes it, the rest can be read."""

import json
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.table import TableAlterer

from schemas.tables import TABLES
from serving.lake.reader import Gone, Lake
from streams.lake import table, upkeep
from streams.lake.halfway import Unfinished
from streams.lake.place import MANIFESTS
from tests.streams.lake.restless import events
from tests.streams.lake.shop import judged_events
from tests.streams.lake.test_batches import Driver, content, cut, expect_right

ALL = (*TABLES, MANIFESTS)


def batches_of(seed):
    return list(cut(judged_events(events(seed, 400)), random.Random(seed), 12))


def log_of(driver, name):
    return Path(driver.root, name, "_delta_log")


def age(driver, name, hours):
    """A checkpoint of the table as it is now; its log up to here is older by so many hours."""
    DeltaTable(driver.store.uri(name)).create_checkpoint()
    then = time.time() - hours * 3_600
    for file in log_of(driver, name).iterdir():
        os.utime(file, (then, then))


def older_lake(home, monkeypatch):
    """A lake whose tables were made before properties were declared."""
    with monkeypatch.context() as patched:
        patched.setattr(table, "PROPERTIES", {})
        driver = Driver(home)
        for batch in batches_of(31)[:3]:
            driver.run(batch)
    return driver


@pytest.mark.parametrize("is_older", [False, True], ids=["made now", "made before"])
@pytest.mark.cases(1)
def test_each_table_has_the_properties(tmp_path, is_older, monkeypatch):
    before = older_lake(tmp_path, monkeypatch) if is_older else None
    driver = Driver(tmp_path)
    for name in ALL:
        found = DeltaTable(driver.store.uri(name)).metadata().configuration
        assert found.items() >= table.PROPERTIES.items(), name
    if before:
        assert content(driver.root, driver.manifest) == content(before.root, before.manifest)
    versions = {name: DeltaTable(driver.store.uri(name)).version() for name in ALL}
    again = Driver(tmp_path)
    assert {name: DeltaTable(again.store.uri(name)).version() for name in ALL} == versions, "set once"
    for batch in batches_of(31)[3 if before else 0 :]:
        again.run(batch)
    expect_right(again.root, again.manifest)


def test_each_commit_of_a_batch_says_of_which_offsets_it_is(tmp_path):
    """Whoever finds a file in a table's log, without us, can say what it was made of."""
    driver, manifests = Driver(tmp_path), {}
    for batch in batches_of(33):
        driver.run(batch)
        manifests[driver.manifest.number] = driver.manifest
        if driver.manifest.number == 2:
            driver = Driver(tmp_path)  # a driver that knows nothing goes on
    assert len(manifests) > 3
    for name in ("raw_orders", "orders", "fct_orders", MANIFESTS):
        told = [each for each in DeltaTable(driver.store.uri(name)).history() if "batch" in each]
        assert 1 < len(told) <= len(manifests), name
        for commit in told:
            number = int(commit["batch"])
            before, after = (manifests[n].until if n else {} for n in (number - 1, number))
            assert commit["generation"] == driver.manifest.generation
            assert json.loads(commit["offsets"]) == {
                f"{topic}/{p}": [before.get((topic, p), 0), until] for (topic, p), until in after.items()
            }
    assert {int(each["batch"]) for each in told} == manifests.keys(), "that of the manifests has each"


def test_a_start_that_ends_while_properties_are_set_is_made_again(tmp_path, monkeypatch):
    before = older_lake(tmp_path, monkeypatch)
    sets, done = TableAlterer.set_table_properties, []

    def full(self, *args, **options):
        if len(done) == 3:
            raise OSError(28, "No space left on device")
        done.append(sets(self, *args, **options))

    with monkeypatch.context() as patched:
        patched.setattr(TableAlterer, "set_table_properties", full)
        with pytest.raises(Unfinished, match="No space left"):
            Driver(tmp_path)
    driver = Driver(tmp_path)
    assert content(driver.root, driver.manifest) == content(before.root, before.manifest)
    assert not any(table.unset(DeltaTable(driver.store.uri(name))) for name in ALL)


@pytest.mark.cases(0)
def test_upkeep_removes_old_logs_and_appends_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "SMALL_FILES", 2)
    driver = Driver(tmp_path)
    batches = batches_of(32)
    for batch in batches[:2]:
        driver.run(batch)
    gone = driver.manifest
    driver.run(batches[2])
    kept = driver.manifest
    before = content(driver.root, kept)
    for name in ALL:
        age(driver, name, table.LOG_HOURS + 1)
    old = {name: {file.name for file in log_of(driver, name).glob("*.json")} for name in ALL}
    driver.run(batches[3])
    assert all((log_of(driver, name) / file).exists() for name in ALL for file in old[name])

    tidy = upkeep.Upkeep(driver.store.failpoints, tmp_path / "scratch")
    driver.manifest = driver.store.upkeep(tidy, driver.manifest)
    for name in ("raw_orders", "orders", "fct_orders", MANIFESTS):
        left = {file.name for file in log_of(driver, name).glob("*.json")} & old[name]
        assert len(left) <= 1, "that of the checkpoint at most"
    # What is not older than that can still be read, and what is cannot.
    lake = Lake(driver.root)
    assert content(driver.root, lake.at(kept.number)) == before
    with pytest.raises(Gone, match="table orders is no longer kept"), lake.open(gone, TABLES["orders"]):
        pass
    driver = Driver(tmp_path)
    for batch in batches[4:]:
        driver.run(batch)
    expect_right(driver.root, driver.manifest)


def test_upkeep_does_not_look_for_old_logs_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "SMALL_FILES", 2)
    driver, looked = Driver(tmp_path), []
    cleanup = DeltaTable.cleanup_metadata
    monkeypatch.setattr(
        DeltaTable, "cleanup_metadata", lambda self: looked.append(self.table_uri) or cleanup(self)
    )
    tidy = upkeep.Upkeep(driver.store.failpoints, tmp_path / "scratch")
    for batch in batches_of(33)[:6]:
        driver.run(batch)
        driver.manifest = driver.store.upkeep(tidy, driver.manifest)
    assert looked
    assert len(looked) == len(set(looked))
    expect_right(driver.root, driver.manifest)


@pytest.mark.cases(0)
def test_a_batch_that_dies_behind_old_logs_is_taken_back(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "SMALL_FILES", 2)
    driver = Driver(tmp_path)
    batches = batches_of(34)
    for batch in batches[:3]:
        driver.run(batch)
    for name in ALL:
        age(driver, name, table.LOG_HOURS + 1)
    before = content(driver.root, driver.manifest)
    with monkeypatch.context() as patched:
        patched.setattr(driver.store, "_seal", lambda manifest, *_: manifest)
        tidy = upkeep.Upkeep(driver.store.failpoints, tmp_path / "scratch")
        driver.store.upkeep(tidy, driver.manifest)
    driver = Driver(tmp_path)
    assert content(driver.root, driver.manifest) == before
    for batch in batches[3:]:
        driver.run(batch)
    expect_right(driver.root, driver.manifest)


def test_what_a_table_s_commit_says_does_not_grow_with_the_manifest(tmp_path):
    driver = Driver(tmp_path)
    [batch, *_] = batches_of(35)
    rows = driver.tables.fold(1, batch).rows
    many = {f"orders/{n}/changed": n for n in range(1_000)}
    sizes = []
    for counts in ({}, many):
        coming = replace(driver.manifest, number=driver.manifest.number + 1, counts=counts)
        driver.manifest = driver.store.write(coming, rows)
        newest = max(log_of(driver, "raw_orders").glob("*.json"))
        sizes.append(newest.stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 100

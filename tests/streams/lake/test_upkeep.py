"""Upkeep of tables that are larger than its memory, that fails, or that a driver did before it ended."""

import os
import random
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from schemas.table import BATCH, GONE
from schemas.tables import TABLES
from serving.lake.views import connect
from streams.lake.frames import stored_schema
from streams.lake.halfway import Fenced, Unfinished
from streams.lake.place import MANIFESTS
from streams.lake.store import LakeStore
from streams.lake.upkeep import KEPT_HOURS, ROOM_LEFT, Upkeep
from tests.streams.lake.restless import events
from tests.streams.lake.shop import judged_events
from tests.streams.lake.test_batches import Driver, content, cut, expect_right

ROWS = 150_000


@pytest.fixture
def busy(monkeypatch):
    """Upkeep finds something to do in small tables."""
    monkeypatch.setattr("streams.lake.upkeep.FOLD_FROM_ROWS", 10)
    monkeypatch.setattr("streams.lake.upkeep.SMALL_FILES", 5)


@contextmanager
def failing(of, name):
    """A disk that is full when this is called."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(of, name, full)
        yield


def batches_of(seed):
    return list(cut(judged_events(events(seed, 400)), random.Random(seed), 12))


def upkeep_of(driver):
    """As the first one of a process does it."""
    return driver.store.upkeep(Upkeep(driver.store.failpoints, driver.home / "scratch"), driver.manifest)


def done(driver, table, act="fold"):
    """How often this was done for a table, by its log."""
    log = DeltaTable(f"{driver.root}/{table}").history()
    return sum(commit.get("upkeep") == act for commit in log)


def units(batch, keys, gone=False):
    """Rows of product_performance, one a key, that say how many units batch `batch` counts."""
    schema = stored_schema(TABLES["product_performance"])
    rows = {name: pl.lit(0).cast(kind) for name, kind in schema.items() if name != "product_id"}
    rows |= {"units": pl.lit(batch, pl.Int64), BATCH: pl.lit(batch, pl.Int64), GONE: pl.lit(gone)}
    return pl.DataFrame({"product_id": keys}).with_columns(**rows).select(list(schema))


def test_a_table_that_is_larger_than_its_memory_is_folded(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.lake.fold.FOLD_MB", 16)
    driver = Driver(tmp_path)
    keys = [f"{n:08}-0000-4000-8000-{n * 7_919 % ROWS:012}" for n in range(ROWS)]
    random.Random(1).shuffle(keys)
    again, gone = keys[::2], keys[::3]
    for number, (which, are_gone) in enumerate(((keys, False), (again, False), (gone, True)), 1):
        driver.manifest = driver.store.write(
            replace(driver.manifest, number=number), {"product_performance": units(number, which, are_gone)}
        )
    expected = dict.fromkeys(keys, 1) | dict.fromkeys(again, 2)
    for key in gone:
        del expected[key]
    driver.manifest = upkeep_of(driver)
    assert driver.manifest.folded == {"product_performance": len(expected)}
    rows = pl.read_delta(driver.store.uri("product_performance"))
    assert rows.height == len(expected)
    assert dict(rows.select("product_id", "units").iter_rows()) == expected


@pytest.mark.cases(0)
def test_the_next_driver_folds_no_table_again_that_has_not_grown(tmp_path, busy):
    driver = Driver(tmp_path)
    batches = batches_of(21)
    for batch in batches[:2]:
        driver.run(batch)
    driver.manifest = upkeep_of(driver)
    assert (
        driver.manifest.folded["orders"] == DeltaTable(driver.store.uri("orders")).to_pyarrow_table().num_rows
    )
    driver = Driver(tmp_path)
    assert upkeep_of(driver) == driver.manifest, "nothing to do, so nothing is written"
    for batch in batches[2:]:
        driver.run(batch)
    driver = Driver(tmp_path)
    driver.manifest = upkeep_of(driver)
    assert done(driver, "orders") == 2
    expect_right(driver.root, driver.manifest)


def test_a_fold_that_was_taken_back_is_done_again(tmp_path, busy):
    """The manifest says what is folded, and it did not get that far."""
    driver = Driver(tmp_path)
    for batch in batches_of(22)[:5]:
        driver.run(batch)
    with failing(LakeStore, "_seal"), pytest.raises(Unfinished, match="No space left"):
        upkeep_of(driver)
    driver = Driver(tmp_path)
    assert driver.manifest.folded == {}
    before = content(driver.root, driver.manifest)
    driver.manifest = upkeep_of(driver)
    assert done(driver, "orders") == 2
    assert content(driver.root, driver.manifest) == before


@pytest.mark.cases(0)
def test_upkeep_that_fails_without_a_trace_is_left_for_later_and_batches_go_on(tmp_path, busy, caplog):
    driver = Driver(tmp_path)
    upkeep = Upkeep(driver.store.failpoints, tmp_path / "scratch")
    batches = batches_of(23)
    for batch in batches[:5]:
        driver.run(batch)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("streams.lake.fold.FOLD_MB", 1)
        for _ in range(2):
            driver.manifest = driver.store.upkeep(upkeep, driver.manifest)
    told = [each.getMessage() for each in caplog.records if "upkeep of orders failed" in each.getMessage()]
    assert "orders" not in driver.manifest.folded
    assert len(told) == 1, "once, until the table has grown"
    assert "left for later: Out of Memory" in told[0]
    assert done(driver, "orders", "compact") == 1, "its files are put together meanwhile"
    for batch in batches[5:]:
        driver.run(batch)
    driver.manifest = driver.store.upkeep(upkeep, driver.manifest)
    assert done(driver, "orders") == 1
    expect_right(driver.root, driver.manifest)


@pytest.mark.cases(0)
def test_upkeep_that_runs_out_of_disk_leaves_none_of_its_files(tmp_path, busy):
    driver = Driver(tmp_path)
    for batch in batches_of(26)[:5]:
        driver.run(batch)
    before = set(Path(driver.root).rglob("*.parquet"))
    written = []

    def fails(table, rows, **_):
        written.append(Path(driver.root, Path(table.table_uri).name, "part-of-a-fold.parquet"))
        written[-1].write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("streams.lake.fold.write_deltalake", fails)
        driver.manifest = upkeep_of(driver)
    assert written
    assert not any(file.exists() for file in written)
    # Other tables were compacted meanwhile; what is there is what their logs name.
    assert before <= set(Path(driver.root).rglob("*.parquet"))
    expect_right(driver.root, driver.manifest)


def test_upkeep_does_not_begin_what_the_disk_may_not_take(tmp_path, busy, caplog):
    driver = Driver(tmp_path)
    batches = batches_of(27)
    for batch in batches[:5]:
        driver.run(batch)
    left = Path(driver.root, "orders", "left.parquet")
    left.write_bytes(b"half")
    then = time.time() - (KEPT_HOURS + 1) * 3_600
    os.utime(left, (then, then))
    before = set(Path(driver.root).rglob("*.parquet"))
    little = shutil.disk_usage(tmp_path)._replace(free=ROOM_LEFT)
    upkeep = Upkeep(driver.store.failpoints, tmp_path / "scratch")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: little)
        for _ in range(2):
            driver.manifest = driver.store.upkeep(upkeep, driver.manifest)
    tables = {each.parent for each in set(Path(driver.root).rglob("*.parquet")) - before}
    assert {each.name for each in tables} <= {"_delta_log", "_manifests"}
    told = [each.getMessage() for each in caplog.records if "upkeep of orders is left" in each.getMessage()]
    assert len(told) == 1, "once, until there is room"
    assert "saw 64 MB: make room on that disk" in told[0]
    # What frees the disk is done all the same.
    assert not left.exists()
    for batch in batches[5:]:
        driver.run(batch)
    driver.manifest = upkeep_of(driver)
    assert done(driver, "orders") == 1
    expect_right(driver.root, driver.manifest)


@pytest.mark.parametrize("table", ["raw_orders", MANIFESTS])
@pytest.mark.cases(1)
def test_what_another_driver_wrote_and_no_manifest_names_is_not_taken_in_by_upkeep(tmp_path, busy, table):
    """Files are put together, and old ones removed, over whatever is committed meanwhile: the library tries again."""
    driver = Driver(tmp_path)
    batches = batches_of(28)
    for batch in batches[:5]:
        driver.run(batch)
    other = Driver(tmp_path)

    class Died(BaseException):
        """What stands for a kill."""

    append = LakeStore._append

    def dies(self, name, rows, note):
        append(self, name, rows, note)
        if name == table:
            raise Died

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LakeStore, "_append", dies)
        with pytest.raises(Died):
            other.run(batches[5])
    with pytest.raises(Fenced, match="one driver a lake"):
        upkeep_of(driver)
    driver = Driver(tmp_path)
    # The other one had sealed its batch, or it is done again.
    for batch in batches[5 if table != MANIFESTS else 6 :]:
        driver.run(batch)
    expect_right(driver.root, driver.manifest)
    with connect(driver.root, driver.manifest) as lake:
        twice = 'SELECT partition, "offset" FROM raw_orders GROUP BY ALL HAVING count(*) > 1'
        assert lake.execute(twice).fetchall() == []


def test_upkeep_that_fails_half_way_ends_the_driver(tmp_path, busy):
    driver = Driver(tmp_path)
    batches = batches_of(24)
    for batch in batches[:5]:
        driver.run(batch)
    before = content(driver.root, driver.manifest)
    with failing(DeltaTable, "vacuum"), pytest.raises(Unfinished, match="No space left"):
        upkeep_of(driver)
    driver = Driver(tmp_path)
    assert content(driver.root, driver.manifest) == before
    for batch in batches[5:]:
        driver.run(batch)
    expect_right(driver.root, driver.manifest)


def test_files_that_no_commit_has_named_are_removed_when_they_are_old(tmp_path, busy):
    """A driver was killed behind a file and before its commit; another one is about to commit."""
    driver = Driver(tmp_path)
    for batch in batches_of(25)[:5]:
        driver.run(batch)
    older = driver.manifest
    before = content(driver.root, older)
    # What is written and not whole has a name of its own until it is.
    table, left, half, coming = (
        Path(driver.root, "orders", name) for name in ("", "left.parquet", "half.parquet#1", "coming.parquet")
    )
    # Whatever the age of a file, it stays as long as a commit of the last days has removed it.
    then = time.time() - (KEPT_HOURS + 1) * 3_600
    left.write_bytes(b"whole")
    half.write_bytes(b"half")
    for file in table.glob("*.parquet*"):
        os.utime(file, (then, then))
    coming.write_bytes(b"half")
    driver.manifest = upkeep_of(driver)
    assert done(driver, "orders") == 1
    assert not left.exists()
    assert not half.exists()
    assert coming.exists()
    assert content(driver.root, driver.manifest) == content(driver.root, older) == before

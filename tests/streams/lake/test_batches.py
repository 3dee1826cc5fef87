"""However records are cut into batches, and wherever a driver starts anew, the tables are the same and are right."""

import random
from dataclasses import replace
from itertools import pairwise

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from infra.failpoints import Failpoints
from replay.verify.oracle import Oracle
from replay.verify.report import documents
from replay.verify.tables import check_tables
from schemas.tables import TABLES
from serving.lake.views import connect, quoted
from streams.lake.halfway import Fenced
from streams.lake.known import Known
from streams.lake.manifest import Manifest
from streams.lake.place import MANIFESTS
from streams.lake.store import LakeStore
from streams.lake.upkeep import Upkeep
from streams.plain_judge import PlainJudge
from tests.helpers import isolated_settings
from tests.streams.lake.restless import events
from tests.streams.lake.shop import KNOWN, MAX_BYTES, PARTITIONS, judged_events, judged_history


class Driver:
    """One driver of a lake, as the job is one."""

    def __init__(self, home, tz="UTC", root=None, failpoint=None, generation="g1"):
        self.home, self.root = home, str(root or home / "lake")
        settings = isolated_settings(home, dataflow_failpoint=failpoint or None)
        self.store = LakeStore(self.root, Failpoints(settings))
        self.manifest = self.store.open(generation)
        self.tables = Known(self.store, self.manifest).tables(tz)

    def run(self, judged):
        number = self.manifest.number + 1
        batch = self.tables.fold(number, judged)
        counts = dict(self.manifest.counts)
        for name, records in batch.counts.items():
            counts[name] = counts.get(name, 0) + records
        until = dict(self.manifest.until)
        for topic, records in judged.items():
            for partition, offset in records.group_by("partition").agg(pl.col("offset").max()).iter_rows():
                until[topic, partition] = offset + 1
        taken = [records["kafka_time"].max() for records in judged.values() if records.height]
        kafka_time = max([self.manifest.kafka_time, *taken])
        self.manifest = self.store.write(
            replace(self.manifest, number=number, counts=counts, until=until, kafka_time=kafka_time),
            batch.rows,
            lambda: self.tables.take_in(batch),
        )


def cut(judged, chance, size):
    """The records in batches of about `size` a topic, each partition in order."""
    done = {(topic, p): 0 for topic in judged for p in range(PARTITIONS)}
    while True:
        batch = {}
        for topic, records in judged.items():
            parts = []
            for p in range(PARTITIONS):
                mine = records.filter(records["partition"] == p)
                take = chance.randint(0, size)
                parts.append(mine.slice(done[topic, p], take))
                done[topic, p] += parts[-1].height
            batch[topic] = parts[0].vstack(parts[1])
        yield batch
        if all(done[topic, p] >= (judged[topic]["partition"] == p).sum() for topic, p in done):
            return


def content(root, manifest):
    """Every table, as its readers see it."""
    with connect(root, manifest) as lake:
        return {
            name: sorted(lake.execute(f"SELECT * FROM {quoted(name)}").fetchall(), key=repr)
            for name in TABLES
        }


def expect_right(root, manifest, tz="UTC"):
    """The tables are what the second computation makes of bronze."""
    with duckdb.connect() as database:
        oracle = Oracle(tz, database)
        expect_same(oracle, root, manifest)


def expect_same(oracle, root, manifest, since=None):
    with connect(root, manifest) as lake:
        oracle.advance(lake, manifest.until, PlainJudge(KNOWN, MAX_BYTES))
    differences = check_tables(oracle, root, manifest, since)
    assert all(each.equal for each in differences), [
        each for each in documents(differences) if not each["equal"]
    ]
    assert {each.table for each in differences} >= {name for name in TABLES if not name.startswith("raw_")}


@pytest.mark.parametrize(
    ("seed", "size", "tz"), [(1, 80, "UTC"), (2, 300, "America/New_York"), (3, 10_000, "Asia/Kolkata")]
)
@pytest.mark.cases(2)
def test_however_records_are_cut_into_batches_the_tables_are_right(tmp_path, seed, size, tz):
    chance = random.Random(seed)
    judged = judged_history(3_000, seed)
    driver = Driver(tmp_path, tz)
    for batch in cut(judged, chance, size):
        driver.run(batch)
        if chance.random() < 0.2:
            driver = Driver(tmp_path, tz)  # a restart knows what the one before knew
    expect_right(driver.root, driver.manifest, tz)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.longhaul) for n in (1, 2, 3))])
def test_whatever_changes_comes_late_or_is_deleted_and_born_again(tmp_path, seed):
    chance = random.Random(seed)
    judged = judged_events(events(seed, 700))
    driver = Driver(tmp_path)
    for batch in cut(judged, chance, chance.choice((5, 30, 200))):
        driver.run(batch)
    expect_right(driver.root, driver.manifest)
    rows = content(driver.root, driver.manifest)
    for name in ("dim_customers", "dim_products"):
        expect_history(rows[name])


def expect_history(rows):
    """No overlap, one last row a key at most, and none that ends before it begins."""
    by_key = {}
    for row in rows:
        key, (version, since, until, current) = row[0], row[-4:]
        assert until is None or since <= until
        assert current == (until is None)
        by_key.setdefault(key, []).append((version, since, until))
    for found in by_key.values():
        found.sort()
        for (_, _, until), (_, since, _) in pairwise(found):
            assert until is not None
            assert until <= since


def test_two_cuts_of_the_same_records_give_the_same_rows(tmp_path):
    judged = judged_history(2_000, 5)
    found = []
    for n, size in enumerate((60, 2_000)):
        driver = Driver(tmp_path / str(n))
        for batch in cut(judged, random.Random(n), size):
            driver.run(batch)
        found.append(content(driver.root, driver.manifest))
    assert found[0] == found[1]


def test_of_two_drivers_one_is_fenced_off_and_nothing_of_it_counts(tmp_path):
    batches = list(cut(judged_history(600, 6), random.Random(6), 60))
    first = Driver(tmp_path)
    first.run(batches[0])
    second = Driver(tmp_path)
    first.run(batches[1])
    with pytest.raises(Fenced, match="one driver a lake"):
        second.run(batches[1])
    before = content(first.root, first.manifest)
    third = Driver(tmp_path)
    assert third.manifest.number == 2
    assert content(third.root, third.manifest) == before
    expect_right(third.root, third.manifest)


@pytest.mark.parametrize(
    "table",
    [
        "fct_orders",
        MANIFESTS,
        *(pytest.param(each, marks=pytest.mark.longhaul) for each in ("raw_orders", "orders", "quarantine")),
    ],
)
@pytest.mark.cases(2)
def test_a_batch_that_dies_before_its_manifest_is_taken_back(tmp_path, table, monkeypatch):
    batches = list(cut(judged_history(900, 7), random.Random(7), 80))
    driver = Driver(tmp_path)
    driver.run(batches[0])
    before = content(driver.root, driver.manifest)

    class Died(BaseException):
        """What stands for a kill here: nothing makes an error of it."""

    append = LakeStore._append

    def dies(self, name, rows, note):
        if name == table:
            raise Died
        append(self, name, rows, note)

    monkeypatch.setattr(LakeStore, "_append", dies)
    with pytest.raises(Died):
        driver.run(batches[1])
    monkeypatch.undo()
    again = Driver(tmp_path)
    assert again.manifest.number == 1
    assert content(again.root, again.manifest) == before
    for batch in batches[1:]:
        again.run(batch)
    expect_right(again.root, again.manifest)


def test_upkeep_changes_no_row_and_what_a_deletion_decided_stands(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.lake.upkeep.FOLD_FROM_ROWS", 10)
    monkeypatch.setattr("streams.lake.upkeep.SMALL_FILES", 5)
    chance = random.Random(8)
    driver = Driver(tmp_path)
    upkeep = Upkeep(driver.store.failpoints, tmp_path / "scratch")
    for n, batch in enumerate(cut(judged_events(events(8, 900)), chance, 15)):
        driver.run(batch)
        if n % 7 == 6:
            before = content(driver.root, driver.manifest)
            older = driver.manifest
            driver.manifest = driver.store.upkeep(upkeep, driver.manifest)
            assert driver.manifest.tables != older.tables
            assert content(driver.root, driver.manifest) == before
            assert content(driver.root, older) == before
            driver = Driver(tmp_path)
    expect_right(driver.root, driver.manifest)
    files = DeltaTable(f"{driver.root}/raw_orders").file_uris()
    assert len(files) <= 5 + 7


def test_a_manifest_reads_back_as_it_was_written():
    manifest = Manifest(
        number=3,
        generation="g1",
        until={("orders", 10): 5},
        tables={"orders": 2},
        counts={"orders/10/changed": 5},
        topics={"orders": "id"},
        schemas={"orders": (1, 2)},
    )
    assert Manifest.from_json(manifest.to_json()) == manifest

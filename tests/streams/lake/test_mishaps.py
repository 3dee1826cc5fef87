"""Mishaps that a lake meets: a disk or a memory that fails half-way, records whose key moves to another partition."""

import random
from itertools import pairwise
from types import SimpleNamespace

import polars as pl
import pytest
from deltalake import write_deltalake
from polars.exceptions import PanicException
from pyspark.errors import StreamingQueryException

from schemas.errors import Transient
from streams.lake import store
from streams.lake.cuts import in_time
from streams.lake.gold.sales import Sales
from streams.lake.halfway import Fenced, Unfinished
from streams.lake.index import KeyIndex
from streams.lake.job import LakeJob
from streams.stop import StopRequest
from tests.streams.lake.restless import events
from tests.streams.lake.shop import judged_events
from tests.streams.lake.test_batches import Driver, content, cut, expect_right


@pytest.mark.parametrize("failing", ["raw_orders", "orders", "_manifests"])
@pytest.mark.cases(1)
def test_a_driver_whose_write_failed_half_way_writes_no_more(tmp_path, failing, monkeypatch):
    """Tried again by the same driver, the batch would be in some tables twice."""
    batches = list(cut(judged_events(events(11, 300)), random.Random(11), 40))
    driver = Driver(tmp_path)
    driver.run(batches[0])
    before = content(driver.root, driver.manifest)

    def full(table, *args, **options):
        if str(table.table_uri).rstrip("/").endswith(failing):
            raise OSError(28, "No space left on device")
        write_deltalake(table, *args, **options)

    monkeypatch.setattr("streams.lake.store.write_deltalake", full)
    with pytest.raises(Unfinished, match=r"could not write batch 2 .*No space left"):
        driver.run(batches[1])
    monkeypatch.undo()
    with pytest.raises(Unfinished, match="batch 2 is not"):
        driver.run(batches[1])
    driver = Driver(tmp_path)
    assert (driver.manifest.number, content(driver.root, driver.manifest)) == (1, before)
    for batch in batches[1:]:
        driver.run(batch)
    expect_right(driver.root, driver.manifest)


@pytest.mark.parametrize(("where", "error"), [(KeyIndex, MemoryError), (Sales, PanicException)])
@pytest.mark.cases(1)
def test_a_driver_that_fails_behind_its_manifest_writes_no_more(tmp_path, where, error, monkeypatch):
    """What it knows has moved in part or not at all: what it folded next would be wrong, and nobody would see it."""
    batches = list(cut(judged_events(events(14, 300)), random.Random(14), 40))
    driver = Driver(tmp_path)
    driver.run(batches[0])
    name = "put" if where is KeyIndex else "take_in"
    kept, calls = getattr(where, name), []

    def fails(self, *given):
        calls.append(self)
        if len(calls) == 2 or where is Sales:
            raise error("out of memory")
        kept(self, *given)

    monkeypatch.setattr(where, name, fails)
    with pytest.raises(Unfinished, match=r"batch 2 .*out of memory.* the next one") as failure:
        driver.run(batches[1])
    assert isinstance(failure.value, Transient), "the process ends, and another one is started"
    monkeypatch.undo()
    with pytest.raises(Unfinished, match="batch 2 is not"):
        driver.run(batches[1])
    driver = Driver(tmp_path)
    assert driver.manifest.number == 2, "the batch itself had been finished"
    for batch in batches[2:]:
        driver.run(batch)
    expect_right(driver.root, driver.manifest)


@pytest.mark.parametrize("nth", [1, 9])
def test_of_two_that_found_a_lake_at_once_one_goes_on_and_the_other_is_fenced_off(tmp_path, nth, monkeypatch):
    """The other one comes while the first one makes its tables; no lock is between them."""
    made, calls, others = store.create, [], []

    def create(root, name):
        calls.append(name)
        if len(calls) == nth:
            others.append(Driver(tmp_path))
        return made(root, name)

    monkeypatch.setattr(store, "create", create)
    driver = Driver(tmp_path)
    [other] = others
    batches = list(cut(judged_events(events(14, 200)), random.Random(14), 20))
    other.run(batches[0])
    with pytest.raises(Fenced, match="one driver a lake"):
        driver.run(batches[0])
    for batch in batches[1:]:
        other.run(batch)
    expect_right(other.root, other.manifest)


def test_a_job_tells_how_often_its_query_has_failed_without_a_batch_between():
    """Whoever waits for it would else wait for ever: code that fails on a record does so each time."""
    told, numbers = [], iter([1, 1, 2, 2, 2])

    class Failing(LakeJob):
        def __init__(self) -> None:
            self.stop, self.failures, self.failure = StopRequest(), 0, None
            self.batches = SimpleNamespace(manifest=SimpleNamespace(number=1))
            self.world = SimpleNamespace(check=lambda: None)

        def run_query(self) -> None:
            if (number := next(numbers, None)) is None:
                self.stop.asked = True
                return
            if number > self.batches.manifest.number:
                self.batches.manifest.number, self.failures = number, 0  # as a batch does
            raise StreamingQueryException("no such column")

        def wait(self, seconds: float) -> None:
            told.append((self.failures, seconds))

    Failing().run()
    assert told == [(1, 1.0), (2, 2.0), (1, 0.5), (2, 1.0), (3, 2.0)]


@pytest.mark.parametrize("seed", [12, 13])
def test_keys_that_move_to_other_partitions_are_taken_in_the_order_of_the_brokers_time(tmp_path, seed):
    """As after partitions were added: newer records of a key lie in another partition than its older ones."""
    driver = Driver(tmp_path)
    moved = {topic: with_moved_keys(frame) for topic, frame in judged_events(events(seed, 900)).items()}
    # The third of these batches has records from before and after.
    for since, until in pairwise((0, 0.2, 0.4, 0.7, 0.9, 1)):
        driver.run({topic: between(frame, since, until) for topic, frame in moved.items()})
    expect_right(driver.root, driver.manifest)


def test_what_waits_after_keys_have_moved_comes_in_batches_that_end_at_one_time(tmp_path):
    """A partition that was added has little in it: cut by shares its first records would come before older ones."""
    moved = {topic: with_added_partition(frame) for topic, frame in judged_events(events(15, 900)).items()}
    ends = {(topic, p): (frame["partition"] == p).sum() for topic, frame in moved.items() for p in range(3)}

    def clock(time_ms):
        behind = {
            topic: frame.filter(pl.col("kafka_time") >= time_ms * 1_000) for topic, frame in moved.items()
        }
        found = {at: behind[at[0]].filter(pl.col("partition") == at[1])["offset"].min() for at in ends}
        return {at: ends[at] if offset is None else offset for at, offset in found.items()}

    driver, since = Driver(tmp_path), dict.fromkeys(ends, 0)
    now = max(frame["kafka_time"].max() for frame in moved.values()) // 1_000 + 1
    steps = list(in_time(since, ends, 120, clock, now))
    assert len(steps) > 5
    for until in steps:
        driver.run({topic: from_to(frame, topic, since, until) for topic, frame in moved.items()})
        since = until
    expect_right(driver.root, driver.manifest)


def with_added_partition(records):
    """In the second half, every other key's records are in a third partition."""
    n = pl.int_range(pl.len(), dtype=pl.Int64)
    moves = (n >= records.height // 2) & (pl.col("key").bin.encode("hex").hash() % 2 == 0)
    return records.with_columns(
        pl.when(moves).then(2).otherwise("partition").cast(pl.Int32).alias("partition"),
        (pl.col("kafka_time") + n * 1_000_000).alias("kafka_time"),
    ).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over("partition").alias("offset"))


def from_to(records, topic, since, until):
    """The records of a topic between two offset vectors."""
    parts = [
        (pl.col("partition") == p) & pl.col("offset").is_between(since[of, p], until[of, p], closed="left")
        for of, p in since
        if of == topic
    ]
    return records.filter(pl.any_horizontal(*parts))


def with_moved_keys(records):
    """From the middle on each key has another partition. The clock of one partition is put back once."""
    n = pl.int_range(pl.len(), dtype=pl.Int64)
    later = n >= records.height // 2
    partition = pl.when(later).then(1 - pl.col("partition")).otherwise("partition").cast(pl.Int32)
    put_back = pl.when((n > records.height // 4) & (pl.col("partition") == 1)).then(5_000_000).otherwise(0)
    return records.with_columns(
        partition.alias("partition"), (pl.col("kafka_time") + n * 1_000_000 - put_back).alias("kafka_time")
    ).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over("partition").alias("offset"))


def between(records, since, until):
    """The records of a part of the time."""
    start = int(since * records.height)
    return records[start : int(until * records.height)]

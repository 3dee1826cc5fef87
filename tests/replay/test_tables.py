"""The second computation of the lake, batch after batch: it agrees while all is right, and says what is not."""

import random
from dataclasses import replace

import duckdb
import polars as pl
import pytest

from replay.verify.oracle import Oracle
from replay.verify.report import documents
from replay.verify.tables import check_tables
from schemas.tables import TABLES
from serving.lake.views import connect
from streams.lake.store import LakeStore
from streams.plain_judge import PlainJudge
from tests.streams.lake.restless import events
from tests.streams.lake.shop import KNOWN, MAX_BYTES, judged_events, judged_history
from tests.streams.lake.test_batches import Driver, cut

JUDGE = PlainJudge(KNOWN, MAX_BYTES)


class Checked:
    """A lake that is compared after each batch, by what changed."""

    def __init__(self, home, tz="UTC"):
        self.driver = Driver(home, tz)
        self.oracle = Oracle(tz, duckdb.connect())
        self.verified = None

    def check(self, *, whole=False):
        """The tables that differ, as documents."""
        manifest = self.driver.manifest
        with connect(self.driver.root, manifest) as lake:
            self.oracle.advance(lake, manifest.until, JUDGE)
        differences = check_tables(self.oracle, self.driver.root, manifest, None if whole else self.verified)
        self.verified = manifest
        self.oracle.forget_changes()
        self.compared = sum(each.expected for each in differences if each.table != "counts")
        return {each["table"]: each for each in documents(differences) if not each["equal"]}

    def add(self, table, row):
        """A row that nothing justifies, in a batch of its own."""
        driver = self.driver
        number = driver.manifest.number + 1
        driver.manifest = driver.store.write(replace(driver.manifest, number=number), {table: row(number)})


@pytest.mark.parametrize(
    ("seed", "size", "tz"),
    [pytest.param(21, 200, "America/New_York", marks=pytest.mark.longhaul), (22, 700, "UTC")],
)
def test_what_changed_is_compared_after_each_batch_and_everything_at_the_end(tmp_path, seed, size, tz):
    chance = random.Random(seed)
    checked = Checked(tmp_path, tz)
    compared = []
    for records in (judged_history(2_000, seed), None):
        for batch in cut(records, chance, size) if records else ():
            checked.driver.run(batch)
            assert not checked.check()
            compared.append(checked.compared)
    assert not checked.check(whole=True)
    assert checked.compared > 2 * compared[-1], "the last batch alone is less than everything"


@pytest.mark.cases(0)
def test_restless_entities_are_compared_too(tmp_path):
    checked = Checked(tmp_path)
    for batch in cut(judged_events(events(23, 600)), random.Random(23), 60):
        checked.driver.run(batch)
        assert not checked.check()
    assert not checked.check(whole=True)


@pytest.fixture
def filled(tmp_path):
    checked = Checked(tmp_path)
    checked.rest = {}
    first = {}
    for topic, records in judged_history(1_500, 24).items():
        middle = pl.col("offset") < records["offset"].max() // 2
        first[topic], checked.rest[topic] = records.filter(middle), records.filter(~middle)
    checked.driver.run(first)
    assert not checked.check()
    return checked


def test_a_row_that_nothing_justifies_is_found_by_the_batch_that_wrote_it(filled):
    def wrong(number):
        row = pl.read_delta(f"{filled.driver.root}/daily_sales").filter(~pl.col("_deleted")).head(1)
        return row.with_columns(pl.col("units") + 1, pl.lit(number, pl.Int64).alias("_batch"))

    filled.add("daily_sales", wrong)
    found = filled.check()
    assert found.keys() == {"daily_sales"}
    [example] = found["daily_sales"]["examples"]
    assert int(example["is"]["units"]) == int(example["should_be"]["units"]) + 1


@pytest.mark.parametrize(
    "table",
    [
        "fct_orders",
        "dim_products",
        "sessions",
        *(
            pytest.param(each, marks=pytest.mark.longhaul)
            for each in ("orders", "daily_sales", "conversion_funnel", "clickstream")
        ),
    ],
)
@pytest.mark.cases(3)
def test_rows_that_were_not_written_are_missed(filled, table, monkeypatch):
    write = LakeStore.write

    def forgetful(self, manifest, rows, *more):
        assert rows[table].height
        return write(self, manifest, {name: frame for name, frame in rows.items() if name != table}, *more)

    monkeypatch.setattr(LakeStore, "write", forgetful)
    filled.driver.run(filled.rest)
    assert filled.check().keys() == {table}


@pytest.mark.cases(0)
def test_in_slices_the_same_is_found(filled, monkeypatch):
    monkeypatch.setattr("replay.verify.tables.AT_ONCE", 20)
    filled.driver.run(filled.rest)
    assert not filled.check()
    for name in ("fct_orders", "dim_products", "sessions"):
        filled.add(name, lambda number, name=name: _again(filled, name, number))
    for whole in (False, True):
        found = filled.check(whole=whole)
        assert {name: (each["missing"], each["unexpected"]) for name, each in found.items()} == {
            "fct_orders": (1, 0),
            "dim_products": (1, 0),
            "sessions": (1, 0),
        }


@pytest.mark.parametrize(
    "column",
    [
        "headers",
        "reasons",
        *(
            pytest.param(each, marks=pytest.mark.longhaul)
            for each in ("key", "value", "kafka_time", "schema_id")
        ),
    ],
)
@pytest.mark.cases(2)
def test_a_refused_record_that_is_kept_otherwise_than_it_came_is_found(filled, column, monkeypatch):
    write = LakeStore.write
    other = {
        "headers": pl.lit([{"key": "not", "value": b"there"}]),
        "kafka_time": pl.col("kafka_time").dt.offset_by("1us"),
        "schema_id": pl.col("schema_id").fill_null(0) + 1,
        "reasons": pl.lit(["too_old"]),
    }.get(column, pl.lit(b"other"))

    def careless(self, manifest, rows, *more):
        one = pl.int_range(pl.len()) == rows["quarantine"].height // 2
        changed = pl.when(one).then(other).otherwise(column).cast(rows["quarantine"].schema[column])
        kept = {**rows, "quarantine": rows["quarantine"].with_columns(changed.alias(column))}
        return write(self, manifest, kept, *more)

    monkeypatch.setattr(LakeStore, "write", careless)
    filled.driver.run(filled.rest)
    found = filled.check()
    assert found.keys() == {"quarantine"}
    [example] = found["quarantine"]["examples"]
    assert example["is"].keys() == {column}
    assert filled.check(whole=True).keys() == {"quarantine"}


def test_a_row_that_went_wrong_long_ago_is_found_by_looking_at_everything(filled):
    filled.add("fct_orders", lambda number: _changed(filled, number))
    filled.verified = filled.driver.manifest  # as if it had been looked at
    assert not filled.check()
    assert filled.check(whole=True).keys() == {"fct_orders"}


def test_a_record_that_is_counted_twice_is_found(filled):
    driver = filled.driver
    name = next(iter(driver.manifest.counts))
    counts = {**driver.manifest.counts, name: driver.manifest.counts[name] + 1}
    driver.manifest = replace(driver.manifest, counts=counts)
    assert filled.check().keys() == {"counts"}


def _changed(filled, number):
    row = pl.read_delta(f"{filled.driver.root}/fct_orders").filter(~pl.col("_deleted")).head(1)
    return row.with_columns(pl.lit("refunded").alias("status"), pl.lit(number, pl.Int64).alias("_batch"))


def _again(filled, name, number):
    """A row that stands, said to be gone."""
    rows = pl.read_delta(f"{filled.driver.root}/{name}").sort("_batch")
    newest = rows.unique(list(TABLES[name].key), keep="last", maintain_order=True)
    row = newest.filter(~pl.col("_deleted")).head(1)
    return row.with_columns(pl.lit(True).alias("_deleted"), pl.lit(number, pl.Int64).alias("_batch"))

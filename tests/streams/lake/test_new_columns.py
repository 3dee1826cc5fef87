"""A contract that gets a column later: the tables of a lake that has rows take it in, whatever dies meanwhile.

What would make something else of the records that are in is refused, with the way out, and changes nothing.
"""

import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from infra.failpoints import Failpoints
from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS, load_contract
from schemas.errors import GenerationError
from schemas.tables import RELATIONS, TABLES, bronze, silver
from sources.codec import EventCodec
from streams.judge import judge
from streams.lake.code import definition
from streams.lake.store import LakeStore
from streams.lake.upkeep import Upkeep
from tests.helpers import isolated_settings
from tests.sources.generator_kit import IDS, START
from tests.streams.lake.newer import NEW, NEWER, TOPICS, declare_anew, declared, forget_schemas, longer
from tests.streams.lake.restless import events
from tests.streams.lake.shop import KNOWN, MAX_BYTES, judged_events
from tests.streams.lake.test_batches import Driver, content, cut, expect_right
from tests.streams.lake.test_lost import files_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "returns"


class Died(BaseException):
    """What stands for a kill here: nothing makes an error of it."""


@pytest.fixture
def declare(tmp_path, monkeypatch):
    """Declares a topic anew for this process, under a newer schema id."""
    yield lambda topic, change: declare_anew(monkeypatch, tmp_path / "declared", topic, change)
    forget_schemas()


def stream(seed, chance=None):
    """Events of a restless shop; with `chance` some say something in the new columns, and some come again without."""
    for topic, event in events(seed, 500):
        new = {}
        if topic in TOPICS and chance is not None and chance.random() < 0.6:
            new = {"note": chance.choice(("a", "b")), "fee": Decimal(chance.randrange(999)) / 100,
                   "seen_at": START - timedelta(days=chance.randrange(50))}  # fmt: skip
        yield topic, event | new


def expect_columns(rows, there):
    """Whether the views show the new columns with something in them."""
    for topic in TOPICS:
        at = [column.name for column in TABLES[topic].columns].index("note")
        assert any(row[at : at + 3] != (None, None, None) for row in rows[topic]) == there, topic


def without(rows):
    """The rows but for the new columns."""
    cut_out = dict(rows)
    for name in (*TOPICS, "customers_versions"):
        names = [column.name for column in TABLES[name].columns]
        kept = [n for n, column in enumerate(names) if column not in dict(NEW)]
        cut_out[name] = [tuple(row[n] for n in kept) for row in rows[name]]
    return cut_out


def grown(judged, before):
    """What of `judged` comes behind the records of `before`."""
    return {
        topic: pl.concat(
            [
                frame.filter((pl.col("partition") == p) & (pl.col("offset") >= offset))
                for p in frame["partition"].unique()
                for offset in [(before[topic]["partition"] == p).sum()]
            ]
        )
        if frame.height
        else frame
        for topic, frame in judged.items()
    }


@pytest.mark.cases(0)
def test_tables_with_rows_take_in_new_columns_and_old_rows_have_nothing_there(tmp_path, declare, monkeypatch):
    monkeypatch.setattr("streams.lake.upkeep.FOLD_FROM_ROWS", 10)
    monkeypatch.setattr("streams.lake.upkeep.SMALL_FILES", 5)
    chance = random.Random(1)
    first = list(stream(1))
    before = judged_events(first)
    driver = Driver(tmp_path)
    for batch in cut(before, chance, 40):
        driver.run(batch)
    old, rows = driver.manifest, content(driver.root, driver.manifest)

    for topic in TOPICS:
        declare(topic, longer)
    # Readers may have the new declarations before the lake has the columns.
    expect_columns(content(driver.root, old), False)
    assert len(dies_after_new_columns(tmp_path, 2)) == 2
    driver = Driver(tmp_path)
    assert driver.manifest.number == old.number
    for manifest in (old, driver.manifest):
        shown = content(driver.root, manifest)
        expect_columns(shown, False)
        assert without(shown) == rows

    # Of what came before, some comes again, as records of the newer schema: repeats, no conflicts.
    again = [chance.choice(first) for _ in range(60)]
    second = [*again, *stream(2, chance)]
    after = grown(judged_events([*first, *second]), before)
    batches = list(cut(after, chance, 60))
    conflicts = conflicts_in(driver.manifest)
    for batch in batches[: len(batches) // 2]:
        driver.run(batch)
    half_way_batch(driver, batches[len(batches) // 2])
    driver = Driver(tmp_path)
    for n, batch in enumerate(batches[len(batches) // 2 :]):
        driver.run(batch)
        if n == 1:
            before = content(driver.root, driver.manifest)
            upkeep = Upkeep(driver.store.failpoints, tmp_path / "scratch")
            driver.manifest = driver.store.upkeep(upkeep, driver.manifest)
            assert content(driver.root, driver.manifest) == before
    expect_columns(content(driver.root, driver.manifest), True)
    expect_right(driver.root, driver.manifest)
    assert without(content(driver.root, old)) == rows
    assert conflicts_in(driver.manifest) > conflicts


def conflicts_in(manifest):
    return sum(n for name, n in manifest.counts.items() if name.endswith("/refused"))


def dies_after_new_columns(home, tables):
    """A driver dies when so many tables have their new columns; returns which do."""
    left = [tables]

    class Failing(Failpoints):
        def hit(self, name):
            left[0] -= name == "lake.after_new_column"
            if not left[0]:
                raise Died

    store = LakeStore(str(home / "lake"), Failing(isolated_settings(home)))
    with suppress(Died):
        store.open("g1")
        pytest.fail("nothing died")
    return [name for name in TABLES if "note" in columns_of(home, name)]


def half_way_batch(driver, judged):
    """Its rows are written, its manifest is not."""

    class Failing(Failpoints):
        def hit(self, name):
            if name == "lake.before_manifest":
                raise Died

    driver.store.failpoints = Failing(isolated_settings(driver.home))
    with pytest.raises(Died):
        driver.run(judged)


def columns_of(home, table):
    return [field.name for field in DeltaTable(str(home / "lake" / table)).schema().fields]


def removed(fields):
    fields[:] = [field for field in fields if field["name"] != "created_at"]


def without_null(fields):
    fields.append({"name": "note", "type": "string", "default": "", "doc": "note"})


def other_type(fields):
    [quantity] = [field for field in fields if field["name"] == "quantity"]
    quantity["type"] = "long"


def may_be_null(fields):
    [quantity] = [field for field in fields if field["name"] == "quantity"]
    quantity["type"] = ["null", quantity["type"]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (removed, "created_at was timestamp and is not there now"),
        (without_null, "note was not there and is string now"),
        (other_type, "quantity was integer and is long now"),
        (may_be_null, "quantity was integer and is integer or null now"),
    ],
)
def test_any_other_change_of_columns_is_refused_with_the_way_out(tmp_path, declare, change, told):
    driver = Driver(tmp_path)
    driver.run(judged_events(events(3, 60)))
    half_way_batch(driver, judged_events(events(13, 60)))
    before = files_of(driver.root)
    declare("order_items", change)
    with pytest.raises(GenerationError, match=told) as refusal:
        Driver(tmp_path)
    assert "`dataflow generation new`" in str(refusal.value)
    assert files_of(driver.root) == before, "not even what no manifest names is taken back"


def test_a_column_that_records_in_the_lake_have_brought_is_refused(tmp_path, declare):
    """Their rows are without it, and a lake that is filled anew would have it in them."""
    longer_orders = declared(tmp_path / "newer", "orders", longer)
    newer = RegisteredSchema(IDS["orders"] + NEWER, 2, longer_orders.avro_json)
    listed = {"orders": [*KNOWN["orders"], newer]}
    judged = judged_events(events(4, 60))
    named = pl.lit(b"\0" + newer.schema_id.to_bytes(4, "big")) + pl.col("value").bin.slice(5)
    brought = {**judged, "orders": judged["orders"].with_columns(named.alias("value"))}
    drivers = {name: Driver(tmp_path / name) for name in ("listed", "brought")}
    drivers["listed"].run(judged)
    drivers["brought"].run(brought)
    half_way_batch(drivers["brought"], judged_events(events(14, 60)))
    before = files_of(drivers["brought"].root)
    declare("orders", longer)
    assert drivers["listed"].store.open("g1", schemas=listed).number == 1
    with pytest.raises(GenerationError, match=rf"schema ids {newer.schema_id}.*`dataflow generation new`"):
        drivers["brought"].store.open("g1", schemas=listed)
    assert files_of(drivers["brought"].root) == before


def test_other_rules_or_another_time_zone_are_refused_with_the_way_out(tmp_path, monkeypatch):
    settings = isolated_settings(tmp_path)
    driver = Driver(tmp_path)
    assert driver.store.open("g1", definition=definition(settings)).number == 0
    driver.manifest = driver.store.open("g1", definition=definition(settings))
    driver.run(judged_events(events(5, 30)))
    assert driver.store.open("g1", definition=definition(settings)) == driver.manifest
    elsewhere = definition(settings.replace(shop_timezone="Asia/Kolkata", max_event_bytes=2_048))
    with pytest.raises(
        GenerationError, match=r"MAX_EVENT_BYTES, SHOP_TIMEZONE: put it back, or `dataflow gen"
    ):
        driver.store.open("g1", definition=elsewhere)
    contract = CONTRACTS["orders"]
    monkeypatch.setitem(CONTRACTS, "orders", replace(contract, rules=contract.rules[1:]))
    with pytest.raises(GenerationError, match="by other rules of orders"):
        driver.store.open("g1", definition=definition(settings))


def test_tables_of_a_new_topic_begin_empty_and_others_are_refused(tmp_path, monkeypatch):
    """A topic that is new is read from its beginning; a table over topics that were read already would lack that."""
    driver = Driver(tmp_path)
    driver.run(judged_events(events(6, 60)))
    contract = load_contract("returns", EXAMPLE)
    monkeypatch.setitem(CONTRACTS, "returns", contract)
    for table in (bronze(contract), silver(contract)):
        for known in (TABLES, RELATIONS):
            monkeypatch.setitem(known, table.name, table)
    driver = Driver(tmp_path)
    driver.run({})
    assert content(driver.root, driver.manifest)["returns"] == []
    assert {"raw_returns", "returns"} <= driver.manifest.tables.keys()

    with monkeypatch.context() as before:
        before.delitem(TABLES, "conversion_funnel")
        store = LakeStore(str(tmp_path / "older"), driver.store.failpoints)
        store.write(replace(store.open("g1"), number=1, until={("clickstream", 0): 5}), {})
    files = files_of(tmp_path / "older")
    with pytest.raises(
        GenerationError, match=r"before there were conversion_funnel: `dataflow generation new`"
    ):
        LakeStore(str(tmp_path / "older"), driver.store.failpoints).open("g1")
    assert files_of(tmp_path / "older") == files, "nor is the new table made"


@pytest.mark.longhaul
def test_a_row_has_the_same_hash_before_and_after_it_could_have_had_more(spark, declare):
    """So a record that comes again after its contract got a column is a repeat, and no conflict."""
    made = dict(events(7, 200))
    rows = [(topic, *EventCodec(IDS).encode(topic, made[topic])) for topic in TOPICS]
    before = [hashed(spark, *row) for row in rows]
    for topic in TOPICS:
        declare(topic, longer)
    assert [hashed(spark, *row) for row in rows] == before
    assert len(set(before)) == len(before)


def hashed(spark, topic, key, value):
    schema = "partition int, offset long, timestamp timestamp, key binary, value binary"
    records = spark.createDataFrame([(0, 0, START, key, value)], schema)
    [row] = (
        judge(records, CONTRACTS[topic], KNOWN[topic][:1], MAX_BYTES).select("reasons", "content").collect()
    )
    assert row["reasons"] == []
    return row["content"]

"""Two lakes of the same records are equal in every table and metric, and of one more record all follows that must."""

import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from dataflow.testing import Offline
from dataflow.testing.records import Raw
from infra.generations import Generation, Recorded
from infra.runtime.platform import ROOT
from replay.diff.compare import EVERYTHING, Asked, compare
from replay.diff.days import FIRST, day_of
from replay.diff.diff import _names
from replay.diff.extract import extract
from replay.diff.index import NAME, Index
from replay.diff.tables import described_as
from replay.verify.metrics import metric_sql
from schemas.contract import CONTRACTS
from schemas.errors import SettingsError
from schemas.metric import Count, Funnel, Metric, Rollup
from schemas.metrics import METRICS
from schemas.table import Column
from schemas.tables import TABLES, silver
from schemas.views import VIEWS
from serving.lake.reader import NoSuchManifest
from serving.lake.views import connect, quoted, sql_type
from serving.read.query import dimensions_of
from tests.helpers import isolated_settings
from tests.replay.lakes import GenerationLake, with_another
from tests.sources.generator_kit import ARRIVAL, CODEC, TIDY, history
from tests.streams.lake.restless import events as restless
from tests.streams.lake.shop import judged_events, judged_history

ZONE = "America/New_York"


@pytest.fixture
def settings(tmp_path):
    return isolated_settings(tmp_path).replace(shop_timezone=ZONE)


def found(settings, one, other, home):
    one.extract(home / "g1")
    other.extract(home / "g2")
    (home / "scratch").mkdir()
    return compare(home / "g1", home / "g2", home / "scratch")


def rows_of(home, relation):
    names = ", ".join(quoted(column.name) for column in relation.columns)
    return duckdb.sql(f"SELECT {names} FROM '{home / relation.file}'").fetchall()


def an_order(event_id, **more):
    emissions, _ = history(TIDY, 2_000, 3)
    event = next(CODEC.decode(e.topic, e.value) for e in emissions if e.topic == "orders")
    return {**event, "event_id": f"00000000-0000-4000-8000-{event_id:012d}", **more}


def test_the_same_records_cut_into_other_batches_are_equal_in_every_table_and_metric(settings, tmp_path):
    judged = judged_history(2_500, 31)
    one = GenerationLake(settings, "g1").fill(judged, 1, 2_000)
    other = GenerationLake(settings, "g2").fill(judged, 2, 150)
    assert one.manifest.number != other.manifest.number
    difference = found(settings, one, other, tmp_path / "x")
    assert difference.equal, [each.title for each in difference.differing]
    tables = {each.name for each in difference.relations if each.kind == "table"}
    assert tables == {table.name for table in TABLES.values() if table.layer != "bronze"}
    assert {each.name for each in difference.relations if each.kind == "metric"} == set(METRICS)
    compared = sum(each.tally.one for each in difference.relations)
    assert compared > 2_500
    assert all(each.tally.one for each in difference.relations if each.name != "customer_cohorts")


def test_one_order_more_is_told_where_it_counts_and_nowhere_else(settings, tmp_path):
    judged = judged_history(1_500, 32)
    order = an_order(
        1,
        order_id="00000000-0000-4000-8000-0000000000aa",
        customer_id="00000000-0000-4000-8000-0000000000bb",
        order_date=datetime(2026, 3, 9, 3, 30, tzinfo=UTC),
        status="placed",
        payment_method="card",
        shipping_country="AT",
        total_amount=Decimal("12.50"),
    )
    more = with_another(judged, judged_events([("orders", order)]), "orders")
    one = GenerationLake(settings, "g1").fill(judged, 3, 400)
    other = GenerationLake(settings, "g2").fill(more, 4, 300)
    # As if the record were there in both, and one of them had left it out.
    until = other.manifest.until
    home = tmp_path / "x"
    one.extract(home / "g1")
    other.extract(home / "g2")
    replace(Index.read(home / "g1"), until=until).write(home / "g1")
    (home / "s").mkdir()
    difference = compare(home / "g1", home / "g2", home / "s")
    by_title = {each.title: each for each in difference.differing}
    assert by_title.keys() == {
        "orders",
        "fct_orders",
        "customer_lifetime_value",
        "customer_cohorts",
        "record_outcomes",
        "revenue by day",
        "revenue in all",
        "events in all",
    }
    for name in ("orders", "fct_orders", "customer_lifetime_value"):
        tally = by_title[name].tally
        assert (tally.only_other, tally.only_one, tally.changed) == (1, 0, 0), name
    orders = by_title["fct_orders"]
    [day] = orders.days
    assert day.day.isoformat() == "2026-03-08", "half past three UTC is the evening before in New York"
    assert {t.column: t.difference for t in orders.totals} == {
        "gross": Decimal("12.50"),
        "cancelled": 0,
        "refunded": 0,
        "net": Decimal("12.50"),
    }
    [example] = orders.examples
    assert (example.key, example.other["net"]) == ({"order_id": order["order_id"]}, "12.50")
    [silver] = by_title["orders"].examples
    assert silver.other["shipping_address"] == "***"
    for title in ("revenue by day", "revenue in all"):
        revenue = by_title[title]
        assert revenue.tally.differing == 1
        assert {t.column: t.difference for t in revenue.totals if t.difference} == {
            "gross": Decimal("12.50"),
            "orders": 1,
            "net": Decimal("12.50"),
        }
    assert {t.column: t.difference for t in by_title["events in all"].totals if t.difference} == {
        "records": 1,
        "changed": 1,
    }


@pytest.mark.parametrize("source", ["tidy", "restless"])
def test_metrics_are_what_the_api_tells_derived_figures_too(settings, tmp_path, source):
    if source == "tidy":
        emissions, _ = history(TIDY, 1_500, 33)
        events = [(each.topic, CODEC.decode(each.topic, each.value)) for each in emissions]
    else:
        events = restless(34, 700)
    offline = Offline(shop_timezone=ZONE)
    offline.events.clock.set(ARRIVAL)
    offline.produce_all(Raw(topic, *offline.judge.codec.encode(topic, event)) for topic, event in events)
    offline.settled()
    index = GenerationLake(settings, "g1").fill(judged_events(events), 5, 400).extract(tmp_path / "out")
    checked = 0
    for relation in index.relations:
        if relation.kind == "metric":
            told = offline.rows(relation.name, relation.grain, dimensions_of(METRICS[relation.name]))
            wanted = sorted((_as_told(row, relation) for row in told), key=repr)
            assert sorted(rows_of(tmp_path / "out", relation), key=repr) == wanted, relation.title
            checked += len(wanted)
    assert checked > 100


def _as_told(row, relation):
    found = []
    for column in relation.columns:
        if column.name == "day":
            found.append(datetime.fromisoformat(row["start"]).astimezone(ZoneInfo(ZONE)).date())
        elif column.type.startswith("DECIMAL") and row[column.name] is not None:
            value = row[column.name]
            found.append(Decimal(f"{value:.6f}" if isinstance(value, float) else value))
        else:
            found.append(row[column.name])
    return tuple(found)


def test_metrics_are_there_in_every_grain_that_they_have(settings, tmp_path):
    index = GenerationLake(settings, "g1").fill(judged_history(300, 35), 1, 400).extract(tmp_path / "out")
    grains = {
        name: {r.grain for r in index.relations if r.name == name and r.kind == "metric"} for name in METRICS
    }
    assert grains == {
        name: {"day", "all"} if isinstance(metric, Metric | Funnel) else {"all"}
        for name, metric in METRICS.items()
    }


def test_tables_are_as_their_readers_see_them_without_the_bytes_of_the_quarantine(settings, tmp_path):
    lake = GenerationLake(settings, "g1").fill(judged_history(1_200, 36), 6, 300)
    index = lake.extract(tmp_path / "out")
    with connect(lake.root, lake.manifest) as sql:
        for relation in index.relations:
            if relation.kind == "table":
                names = ", ".join(quoted(column.name) for column in relation.columns)
                wanted = sql.execute(f"SELECT {names} FROM {relation.name}").fetchall()
                assert len(wanted) == relation.rows
                assert sorted(rows_of(tmp_path / "out", relation), key=repr) == sorted(wanted, key=repr)
    [quarantine] = [r for r in index.relations if r.name == "quarantine"]
    assert quarantine.rows
    assert [c.name for c in quarantine.columns] == [
        "topic",
        "partition",
        "offset",
        "kafka_time",
        "schema_id",
        "reasons",
    ]
    [customers] = [r for r in index.relations if (r.kind, r.name) == ("table", "customers")]
    assert customers.column("email").personal
    assert not customers.column("country").personal
    # It reads back as it was written.
    assert Index.read(tmp_path / "out") == index


def test_only_what_is_asked_for_is_told_and_names_of_another_code_are_passed_over(settings, tmp_path):
    lake = GenerationLake(settings, "g1").fill(judged_history(200, 37), 6, 300)
    index = lake.extract(tmp_path / "out", tables=("fct_orders", "of_tomorrow"), metrics=("items",))
    assert [each.title for each in index.relations] == ["fct_orders", "items by day", "items in all"]


def test_views_that_are_named_are_compared(settings, tmp_path, monkeypatch):
    lake = GenerationLake(settings, "g1").fill(judged_history(400, 38), 6, 300)
    named = {"tables": ("fct_orders", *VIEWS), "metrics": ()}
    lake.extract(tmp_path / "g1", **named)
    changed = VIEWS["revenue_by_country"]
    other = replace(changed, sql=f"SELECT * REPLACE (gross + 1 AS gross) FROM ({changed.sql})")
    monkeypatch.setitem(VIEWS, changed.name, other)
    lake.extract(tmp_path / "g2", **named)
    (tmp_path / "scratch").mkdir()
    difference = compare(tmp_path / "g1", tmp_path / "g2", tmp_path / "scratch")
    assert [each.title for each in difference.differing] == [changed.name]
    assert {each.title for each in difference.relations} == {"fct_orders", *VIEWS}


def test_the_views_that_two_codes_make_otherwise_are_asked_for_with_everything_else():
    tables = {"table fct_orders": "1", "metric items": "1", "view retention_by_cohort": "1"}
    one, other = (
        Recorded(
            Generation(n, {}), code={"digest": "", "declared": tables | {"view revenue_by_country": str(n)}}
        )
        for n in (1, 2)
    )
    assert _names(EVERYTHING, one, one) == []
    assert _names(Asked(metrics=("items",)), one, other) == ["--metric", "items"]
    assert _names(EVERYTHING, one, other) == [
        *("--table", "fct_orders", "--table", "revenue_by_country", "--metric", "items")
    ]
    # What the SQL of all views is made with is code of the lake.
    lakes = [
        replace(one, code={"digest": "", "declared": one.code["declared"] | {"code lake": str(n)}})
        for n in (1, 2)
    ]
    assert _names(EVERYTHING, *lakes)[2:6] == [
        *("--table", "retention_by_cohort", "--table", "revenue_by_country")
    ]


def test_a_roll_up_whose_topic_has_columns_of_the_same_names_is_computed():
    metric = Metric(
        "views",
        "Views by category of what was viewed.",
        of="clickstream",
        at="occurred_at",
        by=("product_id", "event_type"),
        rollups=(Rollup("category", through="product_id", dimension="products"),),
        measures=(Count("views", "Views.", where="event_type = 'view'"),),
    )
    with duckdb.connect() as database:
        for topic in ("clickstream", "products"):
            columns = ", ".join(
                f"{quoted(each.name)} {sql_type(each)}" for each in silver(CONTRACTS[topic]).columns
            )
            of_both = "" if topic == "clickstream" else ", event_type VARCHAR"
            database.execute(f"CREATE TABLE {topic} ({columns}{of_both}, _day_occurred_at DATE)")
        database.execute(
            "INSERT INTO products BY NAME SELECT 'p' AS product_id, 'toys' AS category, 'erp' AS event_type"
        )
        database.execute(
            "INSERT INTO clickstream BY NAME SELECT 'p' AS product_id, 'view' AS event_type, "
            "TIMESTAMP '2026-03-02 10:00' AS occurred_at, DATE '2026-03-02' AS _day_occurred_at"
        )
        sql = metric_sql(metric, "day", ("event_type", "category"), 'WHERE "_day_occurred_at" IS NOT NULL')
        assert database.execute(sql).fetchall() == [(date(2026, 3, 2), "view", "toys", 1)]


@pytest.mark.parametrize(
    "zone",
    [
        "UTC",
        ZONE,
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ],
)
def test_a_time_lies_in_the_day_that_the_time_zone_says(zone):
    chance = random.Random(zone)
    times = [FIRST + timedelta(seconds=chance.randrange(100 * 365 * 86_400)) for _ in range(300)]
    # Around each midnight and change of clocks of two years, too.
    times += [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * n) for n in range(2 * 365 * 96)]
    rows = pa.table({"n": range(len(times)), "moment": pa.array([at.replace(tzinfo=None) for at in times])})
    with duckdb.connect() as sql:
        sql.register("t", rows)
        found = sql.execute(f"SELECT {day_of('moment', zone)} FROM t ORDER BY n").fetchall()
    assert [day for (day,) in found] == [at.astimezone(ZoneInfo(zone)).date() for at in times]


# --- the process


def run(settings, lake, out, **changes):
    environment = {**settings.replace(dataflow_generation=1, **changes).environ(), "PYTHONPATH": str(ROOT)}
    arguments = ["--manifest", str(lake.manifest.number), "--out", str(out), "--metric", "revenue"]
    return subprocess.run(
        [sys.executable, "-m", "replay.diff.extract", *arguments],
        env=environment,
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_extract_that_is_killed_is_none_and_the_next_one_is_whole(settings, tmp_path):
    lake = GenerationLake(settings, "g1").fill(judged_history(200, 38), 6, 300)
    out = tmp_path / "out"
    out.mkdir()
    ended = run(settings, lake, out, dataflow_failpoint="diff.before_index")
    assert ended.returncode == -9, ended.stderr
    assert (settings.state_dir / "failpoints" / "diff.before_index").exists()
    assert not (out / NAME).exists()
    ended = run(settings, lake, out)
    assert ended.returncode == 0, ended.stderr
    assert [each.title for each in Index.read(out).relations] == ["revenue by day", "revenue in all"]


def test_what_cannot_be_extracted_is_said(settings, tmp_path):
    lake = GenerationLake(settings, "g1").fill(judged_history(100, 39), 6, 300)
    with pytest.raises(SettingsError, match="DATAFLOW_GENERATION"):
        extract(settings, lake.manifest.number, tmp_path)
    lake.manifest = replace(lake.manifest, number=99)
    with pytest.raises(NoSuchManifest, match="saw 99"):
        lake.extract(tmp_path / "b")


def test_numbers_with_a_unit_of_the_users_add_up_and_versions_and_places_do_not():
    table = silver(CONTRACTS["orders"])
    weight = Column("weight", "decimal", "What it weighs.", "the producer", unit="kg", precision=8, scale=3)
    described = {each.name: described_as(table, each, table.key) for each in (*table.columns, weight)}
    assert {name for name, each in described.items() if each.summed} == {"total_amount", "weight"}

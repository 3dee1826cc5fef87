"""Readers of the lake: which manifest they mean, and that they see exactly what it names."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from infra.bootstrap import bootstrap
from schemas.tables import RELATIONS, TABLES
from serving.lake.facts import FactBook
from serving.lake.progress import progress
from serving.lake.question import MASK, Question, answer
from serving.lake.reader import Gone, Lake, NoLake, NoSuchManifest
from streams.lake.place import lake_root
from streams.lake.upkeep import Upkeep
from tests.helpers import isolated_settings, wait_for
from tests.serving.lake_kit import SECOND, SECRET, T0, SmallLake, customer, raw_order, sales

SALES, CUSTOMERS, RAW = TABLES["daily_sales"], TABLES["customers"], TABLES["raw_orders"]


@pytest.fixture
def writer(tmp_path: Path):
    found = SmallLake(tmp_path / "lake", isolated_settings(tmp_path))
    yield found
    found.close()


@pytest.fixture
def lake(writer: SmallLake) -> Lake:
    return Lake(writer.root)


def ask(lake, manifest, question):
    with lake.open(manifest, question.table) as connection:
        return answer(connection, question)


def question(table, limit=100, **more):
    columns = more.pop("columns", tuple(column.name for column in table.columns))
    return Question(table, columns, more.pop("where", {}), limit, **more)


def pages(lake, manifest, limit, **more):
    """All rows, page by page."""
    rows, after = [], None
    while True:
        page = ask(lake, manifest, question(more["table"], limit, after=after, **more["of"]))
        rows += page.rows
        assert len(page.rows) <= limit
        if page.next is None:
            return rows
        after = page.next


def test_without_a_finished_batch_there_is_no_lake(tmp_path):
    with pytest.raises(NoLake, match="dataflow up"):
        Lake(str(tmp_path / "nothing")).newest()
    writer = SmallLake(tmp_path / "lake", isolated_settings(tmp_path))
    lake = Lake(writer.root)
    for ask_for in (lake.newest, lambda: lake.recent(3)):
        with pytest.raises(NoLake):
            ask_for()
    with pytest.raises(NoSuchManifest, match="none; saw 1"):
        lake.at(1)
    writer.close()


def test_a_manifest_is_found_by_its_number_and_by_time(writer, lake):
    for n in range(1, 6):
        writer.write({"daily_sales": [sales(n, n)]})
    assert lake.newest() == writer.manifest
    assert [each.number for each in lake.recent(3)] == [5, 4, 3]
    assert [each.number for each in lake.recent(50)] == [5, 4, 3, 2, 1]
    assert [lake.at(n).number for n in range(1, 6)] == [1, 2, 3, 4, 5]
    with pytest.raises(NoSuchManifest, match="1 to 5; saw 6"):
        lake.at(6)
    # Batch n ends with the record of second 10 n.
    assert [lake.before(T0 + s * SECOND).number for s in (10, 19, 20, 49, 1_000)] == [1, 1, 2, 4, 5]
    with pytest.raises(NoSuchManifest, match="1 to 5"):
        lake.before(T0 + 9 * SECOND)


def test_of_a_number_that_was_said_anew_the_last_manifest_stands(writer, lake):
    writer.write({"daily_sales": [sales(1, 1)]})
    writer.write({"daily_sales": [sales(1, 2)]})
    before = writer.manifest
    writer.append("daily_sales", [sales(1, 3)])
    writer.close()
    writer.open()  # takes the append back and says anew where everything is
    after = writer.manifest
    assert after.number == before.number == 2
    assert after.tables["daily_sales"] > before.tables["daily_sales"]
    assert lake.newest() == lake.at(2) == after
    assert [each.number for each in lake.recent(9)] == [2, 1]
    assert [row["product_id"] for row in ask(lake, after, question(SALES)).rows] == ["p1", "p2"]


def test_rows_are_those_of_the_manifest_however_many_came_since(writer, lake):
    writer.write({"daily_sales": [sales(1, 1), sales(1, 2)]})
    writer.write({"daily_sales": [sales(1, 1, "99.50"), sales(2, 1), sales(1, 2, _deleted=True)]})
    writer.append("daily_sales", [sales(3, 3)])
    then = ask(lake, lake.at(1), question(SALES)).rows
    assert [(row["day"], row["product_id"], row["revenue"]) for row in then] == [
        ("2026-05-01", "p1", "10.00"),
        ("2026-05-01", "p2", "10.00"),
    ]
    now = ask(lake, lake.newest(), question(SALES)).rows
    assert [(row["day"], row["product_id"], row["revenue"]) for row in now] == [
        ("2026-05-01", "p1", "99.50"),
        ("2026-05-02", "p1", "10.00"),
    ]


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("limit", [1, 3, 7, 50])
def test_pages_show_every_row_once_and_in_order(writer, lake, limit, descending):
    writer.write(
        {
            "daily_sales": [sales(day, product) for day in (3, 1, 2) for product in (2, 1, 3, 4)],
            "raw_orders": [raw_order(offset, p) for p in (1, 0) for offset in (4, 0, 2, 3, 1)],
        }
    )
    for table, key in ((SALES, ("day", "product_id")), (RAW, ("partition", "offset"))):
        rows = pages(lake, lake.newest(), limit, table=table, of={"descending": descending})
        named = [tuple(row[name] for name in key) for row in rows]
        assert named == sorted(named, reverse=descending)
        assert len(named) == len(set(named)) == (12 if table is SALES else 10)


def test_filters_choose_by_value_by_several_values_by_null_and_out_of_a_list(writer, lake):
    writer.write(
        {
            "customers": [customer(1, country="AT"), customer(2, country="DE"), customer(3)],
            "quarantine": [
                {"topic": "orders", "offset": 1, "reasons": ["too_short"]},
                {"topic": "orders", "offset": 2, "reasons": ["op_allowed", "status_allowed"]},
            ],
        }
    )

    def chosen(table, column, **where):
        page = ask(lake, lake.newest(), question(TABLES[table], where=where, columns=(column,)))
        return [row[column] for row in page.rows]

    assert chosen("customers", "customer_id", country=["AT"]) == ["c1"]
    assert chosen("customers", "customer_id", country=["AT", None]) == ["c1", "c3"]
    assert chosen("customers", "customer_id", country=["AT", "DE"], customer_id=["c2"]) == ["c2"]
    assert chosen("customers", "customer_id", country=["'; DROP TABLE customers; --"]) == []
    assert chosen("quarantine", "offset", reasons=["status_allowed"]) == [2]
    assert chosen("quarantine", "offset", reasons=["status_allowed", "too_short"]) == [1, 2]


def test_personal_data_and_bytes_are_masked_unless_they_are_revealed(writer, lake):
    writer.write({"customers": [customer(1)], "raw_orders": [raw_order(0)]})
    [row] = ask(lake, lake.newest(), question(CUSTOMERS)).rows
    assert row["email"] == MASK
    assert row["first_name"] is None
    [raw] = ask(lake, lake.newest(), question(RAW)).rows
    assert (raw["key"], raw["value"], raw["headers"]) == (MASK, MASK, MASK)
    [row] = ask(lake, lake.newest(), question(CUSTOMERS, reveal=True)).rows
    assert row["email"] == SECRET
    assert row["created_at"] == "2026-05-17T09:31:00.000000Z"
    [raw] = ask(lake, lake.newest(), question(RAW, reveal=True)).rows
    assert bytes.fromhex(raw["value"]) == SECRET.encode()
    assert raw["headers"] == [{"key": "h", "value": "0001"}]


def test_a_page_of_large_rows_ends_early_and_the_next_goes_on(writer, lake, monkeypatch):
    monkeypatch.setattr("serving.lake.question.PAGE_BYTES", 200)
    writer.write({"raw_orders": [raw_order(offset) for offset in range(20)]})
    first = ask(lake, lake.newest(), question(RAW, reveal=True))
    assert 0 < len(first.rows) < 20
    rows = pages(lake, lake.newest(), 100, table=RAW, of={"reveal": True})
    assert [row["offset"] for row in rows] == list(range(20))


def test_a_version_whose_files_are_removed_is_gone_and_says_so(writer, lake):
    writer.write({"daily_sales": [sales(1, 1)], "customers": [customer(1)]})
    manifest = lake.newest()
    for file in (Path(writer.root) / "daily_sales").glob("*.parquet"):
        file.unlink()
    with pytest.raises(Gone, match="daily_sales is no longer kept as it was at manifest 1"):
        ask(lake, manifest, question(SALES))
    shutil.rmtree(Path(writer.root) / "customers" / "_delta_log")
    with pytest.raises(Gone, match="customers"):
        ask(lake, manifest, question(CUSTOMERS))


def test_a_version_whose_files_are_removed_while_it_is_read_is_gone_too(writer, lake):
    for first in (0, 5_000):
        writer.write({"raw_orders": [raw_order(offset) for offset in range(first, first + 5_000)]})

    def read():
        with lake.open(lake.newest(), RAW) as connection:
            # A file is opened when those before it have been read.
            connection.execute("SET threads = 1; SET streaming_buffer_size = '1KB'")
            rows = connection.execute("SELECT * FROM raw_orders")
            rows.fetchone()
            for file in (Path(writer.root) / "raw_orders").glob("*.parquet"):
                file.unlink()
            rows.fetchall()

    with pytest.raises(Gone, match="raw_orders is no longer kept as it was at manifest 2"):
        read()


def test_facts_are_counted_once_a_version_and_say_what_could_not_be_counted(writer, lake):
    writer.write(
        {"daily_sales": [sales(1, 1), sales(1, 2)], "raw_orders": [raw_order(offset) for offset in range(4)]}
    )
    writer.write({"daily_sales": [sales(1, 1)]})
    counted = []
    book = FactBook(lake)

    def read(may_go_on=True):
        return book.read(lake.newest(), lambda: may_go_on, lambda c: counted.append(c) or c)

    facts = read(False)
    assert facts["daily_sales"].rows is None
    assert (facts["raw_orders"].rows, facts["raw_orders"].files) == (4, 1)
    facts = read()["daily_sales"]
    assert (facts.rows, facts.stored_rows, facts.files, facts.version) == (2, 3, 2, 2)
    assert facts.bytes == sum(f.stat().st_size for f in (Path(writer.root) / "daily_sales").glob("*.parquet"))
    assert set(read()) == set(RELATIONS)
    before = len(counted)
    read()
    assert len(counted) == before
    empty = read()["payments"]
    assert (empty.rows, empty.bytes, empty.written_at) == (0, 0, None)


def test_what_takes_long_to_count_is_not_counted_at_each_manifest(writer, lake, monkeypatch):
    """Somebody has the dictionary open, and each batch makes another manifest."""
    writer.write({"daily_sales": [sales(1, 1)], "orders": []})
    book = FactBook(lake)

    def read(exact=False):
        facts = book.read(lake.newest(), lambda: True, lambda c: c, exact=exact)
        return [
            (facts[name].rows, facts[name].rows_at) for name in ("daily_sales", "sales_by_week", "orders")
        ]

    monkeypatch.setattr("serving.lake.facts.PAUSES", 1e9)
    assert read() == [(1, 1), (1, 1), (0, 1)]
    writer.write({"daily_sales": [sales(9, 1)]})
    assert read() == [(1, 1), (1, 1), (0, 2)], "what had nothing to count is counted"
    assert read(exact=True) == [(2, 2), (2, 2), (0, 2)]
    writer.write({"daily_sales": [sales(20, 1)]})
    monkeypatch.setattr("serving.lake.facts.PAUSES", 0)
    assert read() == [(3, 3), (3, 3), (0, 3)]


def test_what_could_not_be_counted_is_not_tried_at_once_again_and_an_old_count_hides_no_newer_one(
    writer, lake, monkeypatch
):
    monkeypatch.setattr("serving.lake.facts.PAUSES", 1e9)
    writer.write({"daily_sales": [sales(1, 1)]})
    writer.write({"daily_sales": [sales(2, 1)]})
    book, tried = FactBook(lake), []

    def full(_):
        tried.append(1)
        raise duckdb.IOException("IO Error: no room")

    def read(limited=lambda c: c, manifest=None, exact=False):
        facts = book.read(manifest or lake.newest(), lambda: True, limited, exact=exact)["daily_sales"]
        return facts.rows, facts.rows_at

    assert read(full) == (None, None)
    first = len(tried)
    assert first > 0
    assert read(full) == (None, None)
    assert len(tried) == first, "nor is it tried at once again"
    assert read(exact=True) == (2, 2)
    assert read(manifest=lake.at(1), exact=True) == (1, 1)
    assert read() == (2, 2)


def test_a_table_whose_files_are_gone_takes_no_other_ones_facts_with_it(writer, lake):
    writer.write({"daily_sales": [sales(1, 1)], "customers": [customer(1)]})
    for file in (Path(writer.root) / "daily_sales").glob("*.parquet"):
        file.unlink()
    facts = FactBook(lake).read(lake.newest(), lambda: True, lambda c: c)
    assert (facts["daily_sales"], facts["sales_by_week"]) == (None, None)
    assert facts["customers"].rows == 1


def test_what_is_small_is_counted_before_what_is_large(writer, lake):
    writer.write(
        {"orders": [], "daily_sales": [sales(day, 1) for day in range(1, 9)], "customers": [customer(1)]}
    )
    allowed = iter([True])
    facts = FactBook(lake).read(lake.newest(), lambda: next(allowed, False), lambda c: c)
    assert (facts["customers"].rows, facts["daily_sales"].rows) == (1, None)


def test_a_table_was_written_by_the_batch_that_its_manifest_names_and_no_later_one(writer, lake):
    log, ms = Path(writer.root, "raw_orders", "_delta_log"), 60_000
    for number in (1, 2):
        writer.write({"raw_orders": [raw_order(number)]})
        file = log / f"{number:020}.json"
        told = re.sub(r'"timestamp":\d+', f'"timestamp":{number * ms}', file.read_text("utf-8"), count=1)
        file.write_text(told, "utf-8")
    first, second = lake.at(1), lake.newest()
    writer.append("raw_orders", [raw_order(3)])  # of a batch that died

    def written(manifest):
        return FactBook(lake).read(manifest, lambda: True, lambda c: c)["raw_orders"].written_at

    assert (written(first), written(second)) == ("1970-01-01T00:01:00.000000Z", "1970-01-01T00:02:00.000000Z")
    writer.close()
    writer.open()  # what it left is taken back, by a commit of its own
    assert lake.newest().tables["raw_orders"] > second.tables["raw_orders"] + 1
    assert written(lake.newest()) == "1970-01-01T00:02:00.000000Z"


def test_upkeep_makes_no_table_newer(writer, lake, tmp_path, monkeypatch):
    """It writes the same rows into fewer files."""
    monkeypatch.setattr("streams.lake.upkeep.SMALL_FILES", 2)
    for offset in range(3):
        writer.write({"raw_orders": [raw_order(offset)]})
    before = FactBook(lake).read(lake.newest(), lambda: True, lambda c: c)["raw_orders"]
    assert datetime.fromisoformat(before.written_at) <= datetime.now(UTC)
    written = datetime.fromisoformat(before.written_at).timestamp()
    wait_for(lambda: datetime.now(UTC).timestamp() > written + 0.1, 5, "a later moment")
    writer.manifest = writer.store.upkeep(
        Upkeep(writer.store.failpoints, tmp_path / "scratch"), writer.manifest
    )
    after = FactBook(lake).read(lake.newest(), lambda: True, lambda c: c)["raw_orders"]
    assert (after.files, after.rows) == (1, before.rows)
    assert after.version > before.version
    assert after.written_at == before.written_at


def test_what_there_is_no_room_to_count_is_not_counted(writer, lake):
    writer.write({"daily_sales": [sales(1, 1)], "raw_orders": [raw_order(0)]})

    def full(_):
        raise duckdb.IOException("IO Error: no room")

    facts = FactBook(lake).read(lake.newest(), lambda: True, full)
    assert (facts["daily_sales"].rows, facts["raw_orders"].rows) == (None, 1)


def test_progress_counts_what_waits_and_is_fresh_when_nothing_does(writer, lake):
    writer.write({})
    now = T0 / SECOND + 10 + 2.5
    assert progress(lake.newest(), {("orders", 0): 10}, now)["freshness_ms"] == 0
    behind = progress(lake.newest(), {("orders", 0): 17, ("reviews", 1): 3}, now)
    assert (behind["records_behind"], behind["freshness_ms"]) == (10, 2_500)
    assert behind["by_topic"] == {"orders": 7, "reviews": 3}


def test_the_example_of_the_documentation_runs(settings, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs" / "lake.md").read_text("utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    bootstrap(settings)
    writer = SmallLake(lake_root(settings, "g1"), settings)
    writer.write({"daily_sales": [sales(1, 1, "1.25"), sales(1, 2, "2.50")]})
    writer.close()
    for name, value in settings.environ().items():
        monkeypatch.setenv(name, value)
    exec(compile(example, "docs/lake.md", "exec"), {})
    assert "3.75" in capsys.readouterr().out

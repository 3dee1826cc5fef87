"""Where partitions were added, which of a key's records was counted first is not in the topics: all else is."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from replay.verify.live import Seen, check_live
from replay.verify.moved import PLACE, settled_counts, settled_rows
from replay.verify.oracle import Oracle
from replay.verify.tables import _slices
from schemas.contract import CONTRACTS
from schemas.metrics import METRICS
from schemas.table import Table
from schemas.tables import TABLES, silver
from schemas.validate import micros
from serving.lake.views import quoted, sql_type
from serving.read import MetricQuery
from sources.codec import EventCodec
from streams.plain_judge import PlainJudge
from tests.cli.kit import WHEN, order
from tests.replay.bronze_kit import new_oracle, take_in
from tests.sources.generator_kit import IDS
from tests.streams.lake.shop import KNOWN, MAX_BYTES

EVENTS = METRICS["events"]
NAMES = [measure.name for measure in EVENTS.measures]
NONE = dict.fromkeys(NAMES, 0)


def oracle_of(second_partition: int) -> Oracle:
    """Version 1 of an order in partition 0, then version 2."""
    codec, found = EventCodec(IDS), new_oracle("UTC")
    rows = []
    for version, partition in ((1, 0), (2, second_partition)):
        key, value = codec.encode(
            "orders", order(1, version=version, event_id=f"{version:08d}-0000-4000-8000-000000000000")
        )
        offset = sum(row[0] == partition for row in rows)
        rows.append((partition, offset, micros(WHEN + timedelta(seconds=version)), key, value))
    take_in(found, "orders", rows, PlainJudge(KNOWN, MAX_BYTES))
    assert found.records == 2
    return found


def differs(oracle: Oracle, by: tuple[str, ...], **figures: int) -> bool:
    rate = figures.get("refused", 0) / figures["records"]
    row = {**NONE, **figures, **({"topic": "orders"} if by else {}), "error_rate": rate}
    return not check_live(oracle, Seen(oracle.until, MetricQuery(EVENTS, "all", by=by), [row])).equal


@pytest.mark.parametrize("by", [(), ("topic",)], ids=["in all", "by topic"])
def test_what_was_taken_is_compared_together_and_what_was_refused_apart(by: tuple[str, ...]) -> None:
    oracle = oracle_of(second_partition=1)
    assert oracle.moved == {"orders"}
    assert not differs(oracle, by, records=2, changed=2)
    assert not differs(oracle, by, records=2, changed=1, superseded=1)
    assert differs(oracle, by, records=2, changed=1)
    assert differs(oracle, by, records=2, changed=1, refused=1)
    assert differs(oracle, by, records=3, changed=2, superseded=1)


@pytest.mark.parametrize("by", [(), ("topic",)], ids=["in all", "by topic"])
def test_of_keys_that_stay_in_their_partition_each_is_compared(by: tuple[str, ...]) -> None:
    oracle = oracle_of(second_partition=0)
    assert oracle.moved == set()
    assert not differs(oracle, by, records=2, changed=2)
    assert differs(oracle, by, records=2, changed=1, superseded=1)


def rows_of(table: Table, **values: str) -> str:
    """A SELECT of one row of a table, null but for these."""
    columns = (
        f"{values.get(each.name, 'NULL')}::{sql_type(each)} AS {quoted(each.name)}" for each in table.columns
    )
    return f"SELECT {', '.join(columns)}"


def asked(rows: str) -> dict[str, object]:
    with duckdb.connect(config={"temp_directory": ""}) as database:
        found = database.execute(rows)
        return dict(zip((each[0] for each in found.description), found.fetchone(), strict=True))


@pytest.mark.parametrize(("topic", "taken"), [("orders", (9, 0, 0)), ("payments", (4, 3, 2))])
def test_in_the_lake_what_was_taken_of_a_minute_is_compared_together_too(
    topic: str, taken: tuple[int, ...]
) -> None:
    table = TABLES["record_outcomes"]
    values = {"topic": f"'{topic}'", "records": "10", "changed": "4", "repeat": "3", "superseded": "2"}
    row = asked(settled_rows(rows_of(table, **values, refused="1"), table, {"orders"}))
    assert (row["records"], row["changed"], row["repeat"], row["superseded"], row["refused"]) == (
        10,
        *taken,
        1,
    )


@pytest.mark.parametrize("topic", CONTRACTS)
def test_of_rows_that_came_twice_all_but_their_place_is_compared(topic: str) -> None:
    table = silver(CONTRACTS[topic])
    given = rows_of(table, _partition="3", _offset="17")
    moved, stayed = (asked(settled_rows(given, table, {name})) for name in (topic, "none"))
    assert stayed == asked(given)
    places = ("_partition", "_offset")
    assert [moved[name] for name in places] == [0, 0]
    assert [stayed[name] for name in places] == [3, 17]
    assert {k: v for k, v in moved.items() if k not in places} == {
        k: v for k, v in stayed.items() if k not in places
    }


def test_counts_of_partitions_are_compared_together_too() -> None:
    counts = {"orders/0/changed": 1, "orders/0/superseded": 2, "orders/0/refused": 3, "reviews/0/repeat": 4}
    assert settled_counts(counts, {"orders"}) == {
        "orders/0/taken": 3,
        "orders/0/refused": 3,
        "reviews/0/repeat": 4,
    }
    assert settled_counts({**counts, "orders/1/changed": 0}, set()) == counts


@pytest.mark.parametrize("name", [*CONTRACTS, "products_versions", "fct_orders", "record_outcomes"])
def test_a_row_is_compared_in_the_same_slice_wherever_it_came(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.verify.tables.AT_ONCE", 1)
    table = TABLES[name]
    file = str(tmp_path / "rows.parquet")
    with duckdb.connect(config={"temp_directory": ""}) as database:
        database.execute(f"COPY ({' UNION ALL '.join([rows_of(table)] * 5)}) TO '{file}' (FORMAT parquet)")
    slices = _slices(new_oracle("UTC"), table, [file], "true")
    assert len(slices) == 6
    assert not any(place in each for each in slices for place in PLACE)

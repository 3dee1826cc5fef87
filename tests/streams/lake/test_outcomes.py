"""The batch says of every record what one record after the other says, however the records are cut into batches."""

import random

import polars as pl
import pytest

from schemas.contract import CONTRACTS
from streams.lake.index import HASH, KeyIndex
from streams.lake.outcomes import CHANGED, KNOWN, change_outcomes, fact_outcomes, newest

ORDERS, CLICKS = CONTRACTS["orders"], CONTRACTS["clickstream"]
TYPES = {"order_id": pl.String, "version": pl.Int64, "_content": pl.Int64, "event_id": pl.String}


def one_by_one(records):
    """Each record's outcome from the latest of its entity: the definition."""
    latest, outcomes = {}, []
    for entity, version, content, event_id in records:
        before = latest.get(entity)
        if before is None:
            outcome = "changed"
        elif version < before[0]:
            outcome = "superseded"
        elif version == before[0]:
            outcome = "repeat" if content == before[1] else "refused"
        else:
            outcome = "repeat" if event_id == before[2] else "changed"
        if outcome == "changed":
            latest[entity] = (version, content, event_id)
        outcomes.append(outcome)
    return outcomes


@pytest.mark.parametrize("seed", range(30))
def test_a_batch_decides_as_one_record_after_the_other(seed):
    chance = random.Random(seed)
    records = [
        (
            f"o{chance.randrange(1 + seed)}",
            chance.randrange(8),
            chance.randrange(2),
            f"e{chance.randrange(40)}",
        )
        for _ in range(200)
    ]
    expected = one_by_one(records)
    index = KeyIndex(("order_id",), pl.DataFrame(schema=TYPES))
    outcomes, at = [], 0
    while at < len(records):
        size = chance.choice((1, 3, 17, 90))
        batch = pl.DataFrame(records[at : at + size], schema=TYPES, orient="row").with_columns(
            pl.lit(0).alias("_partition"), (pl.int_range(pl.len()) + at).alias("_offset")
        )
        judged = change_outcomes(ORDERS, batch, index.find(batch).select("order_id", *KNOWN))
        assert judged["_offset"].to_list() == list(range(at, at + batch.height))
        index.put(newest(ORDERS, judged.filter(pl.col("_outcome") == CHANGED)))
        outcomes += judged["_outcome"].to_list()
        at += size
    assert outcomes == expected


def test_a_fact_counts_once_in_a_batch_and_across_batches():
    identity = {"event_id": pl.String, "session_id": pl.String}
    index = KeyIndex(("event_id", "session_id"), pl.DataFrame(schema=identity))
    first = pl.DataFrame(
        {"event_id": ["a", "b", "a"], "session_id": ["s", "s", "s"], "_partition": 0, "_offset": [0, 1, 2]}
    )
    assert fact_outcomes(CLICKS, first, index.find(first))["_outcome"].to_list() == [
        "changed",
        "changed",
        "repeat",
    ]
    index.put(first.unique(["event_id", "session_id"]))
    again = pl.DataFrame(
        {"event_id": ["b", "b", "c"], "session_id": ["s", "t", "s"], "_partition": 0, "_offset": [3, 4, 5]}
    )
    assert fact_outcomes(CLICKS, again, index.find(again))["_outcome"].to_list() == [
        "repeat",
        "changed",  # the same id in another session is another fact, as in the live fold
        "changed",
    ]


@pytest.mark.parametrize(("smallest", "growth"), [(1, 1), (1, 4), (10_000, 4)])
def test_an_index_holds_the_last_row_of_each_key(monkeypatch, smallest, growth):
    monkeypatch.setattr("streams.lake.index.SMALLEST_RUN", smallest)
    monkeypatch.setattr("streams.lake.index.GROWTH", growth)
    chance, expected = random.Random(smallest + growth), {}
    index = KeyIndex(("k",), pl.DataFrame(schema={"k": pl.String, "v": pl.Int64}))
    for value in range(200):
        keys = {f"k{chance.randrange(300)}" for _ in range(chance.randrange(6))}
        index.put(
            pl.DataFrame([(k, value) for k in keys], schema={"k": pl.String, "v": pl.Int64}, orient="row")
        )
        expected |= dict.fromkeys(keys, value)
        asked = [f"k{chance.randrange(400)}" for _ in range(20)]
        found = index.find(pl.DataFrame({"k": asked}))
        assert dict(found.iter_rows()) == {k: expected[k] for k in asked if k in expected}
        assert found.height == found["k"].n_unique()
    assert dict(index.rows().iter_rows()) == expected


def test_keys_that_share_a_hash_are_told_apart(monkeypatch):
    index = KeyIndex(("k",), pl.DataFrame(schema={"k": pl.String, "v": pl.Int64}))
    monkeypatch.setattr(index, "_hashed", lambda rows: rows.with_columns(pl.lit(7, pl.UInt64).alias(HASH)))
    index.put(pl.DataFrame({"k": ["a", "b", "c"], "v": [1, 2, 3]}))
    assert index.find(pl.DataFrame({"k": ["b", "x"]})).rows() == [("b", 2)]


@pytest.mark.parametrize("name", ["key_hash", "hash", "by"])
def test_a_users_column_may_have_any_name_that_a_contract_allows(name):
    index = KeyIndex((name,), pl.DataFrame(schema={name: pl.String, "v": pl.Int64}))
    index.put(pl.DataFrame({name: ["a", "b"], "v": [1, 2]}))
    index.put(pl.DataFrame({name: ["b"], "v": [3]}))
    assert index.find(pl.DataFrame({name: ["b", "x"]})).rows() == [("b", 3)]


def test_rows_are_found_by_other_columns_than_their_key_and_move_with_them(monkeypatch):
    schema = {"order": pl.Int64, "customer": pl.String}
    for smallest in (1, 10_000):
        monkeypatch.setattr("streams.lake.index.SMALLEST_RUN", smallest)
        index = KeyIndex(("order",), pl.DataFrame(schema=schema), by=("customer",))
        for rows in ([(1, "a"), (2, "a"), (3, "b")], [(2, "b"), (4, None)], [(1, None)]):
            index.put(pl.DataFrame(rows, schema=schema, orient="row"))
        found = index.find(pl.DataFrame({"customer": ["a", "b", None]}, schema={"customer": pl.String}))
        assert sorted(found.rows()) == [(2, "b"), (3, "b")]


def test_rows_that_move_about_at_random_are_found_where_they_are_now(monkeypatch):
    monkeypatch.setattr("streams.lake.index.SMALLEST_RUN", 1)
    monkeypatch.setattr("streams.lake.index.GROWTH", 1)
    schema = {"order": pl.Int64, "customer": pl.String, "value": pl.Int64}
    chance, expected = random.Random(5), {}
    index = KeyIndex(("order",), pl.DataFrame(schema=schema), by=("customer",))
    for value in range(150):
        orders = {chance.randrange(40) for _ in range(chance.randrange(12))}
        rows = [(order, chance.choice(("a", "b", "c", None)), value) for order in orders]
        index.put(pl.DataFrame(rows, schema=schema, orient="row"))
        expected |= {row[0]: row for row in rows}
        found = index.find(pl.DataFrame({"customer": ["a", "c", "a", "x"]}))
        assert sorted(found.rows()) == sorted(row for row in expected.values() if row[1] in ("a", "c"))
    assert sorted(index.rows().rows()) == sorted(expected.values())

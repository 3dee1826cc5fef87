"""Bronze is read in the order in which records are taken, in pieces, whatever its partitions, gaps and clocks are."""

import random

import duckdb
import polars as pl
import pytest

from replay.verify.reading import in_order
from schemas.contract import CONTRACTS
from schemas.tables import bronze
from serving.lake.views import quoted

RAW = bronze(CONTRACTS["orders"])
# The same order, by a database that holds everything.
WHOLE = f"""
    SELECT partition, "offset", epoch_us(kafka_time), key, value FROM {quoted(RAW.name)}
    ORDER BY max(kafka_time) OVER (PARTITION BY partition ORDER BY "offset" ROWS UNBOUNDED PRECEDING),
        partition, "offset"
"""


@pytest.fixture
def lake():
    with duckdb.connect(config={"temp_directory": "", "threads": 1}) as found:
        yield found


def fill(lake, partitions):
    """Bronze with a broker's time (µs) for each offset of each partition; None where there is no record."""
    rows = [
        (p, offset, at, f"k{p}".encode(), f"{p}/{offset}".encode())
        for p, times in partitions.items()
        for offset, at in enumerate(times)
        if at is not None
    ]
    random.Random(1).shuffle(rows)
    frame = pl.DataFrame(rows, schema=["partition", "offset", "time", "key", "value"], orient="row")
    lake.register("_rows", frame.to_arrow())
    lake.execute(
        f'CREATE TABLE {quoted(RAW.name)} AS SELECT partition, "offset", make_timestamp("time") AS kafka_time, '
        "key, value FROM _rows"
    )
    return {p: (0, len(times)) for p, times in partitions.items()}


def clock(chance, records, since=0):
    """Times of a broker, whose clock goes back now and then; some offsets are no records."""
    at, found = since, []
    for _ in range(records):
        at += chance.choice((0, 0, 1, 3, -2, -40))
        found.append(None if chance.random() < 0.2 else max(0, at))
        at += 3
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("at_once", "at_most"), [(1, 99), (7, 10), (40, 10_000), (40, 90), (10_000, 10_000)])
def test_the_order_is_that_of_the_brokers_newest_time(lake, seed, at_once, at_most):
    chance = random.Random(seed)
    sizes = {p: chance.choice((0, 1, 30, 150)) for p in range(chance.randint(1, 5))}
    ranges = fill(lake, {p: clock(chance, n, chance.choice((0, 200))) for p, n in sizes.items()} | {9: [5]})
    found = [row for chunk in in_order(lake, RAW, ranges, at_once, at_most) for row in chunk]
    assert found == lake.execute(WHOLE).fetchall()


def test_only_the_ranges_that_are_asked_for_are_read(lake):
    fill(lake, {0: range(20), 1: range(20), 2: range(20)})
    [chunk] = in_order(lake, RAW, {0: (3, 5), 1: (19, 40), 2: (7, 7)})
    assert [row[:2] for row in chunk] == [(0, 3), (0, 4), (1, 19)]
    assert list(in_order(lake, RAW, {})) == []


def test_what_is_before_the_first_record_or_missing_costs_no_reading(lake):
    far = 10**12
    fill(lake, {0: range(3)})
    lake.execute(f'UPDATE {quoted(RAW.name)} SET "offset" = {far} WHERE "offset" = 2')
    chunks = in_order(lake, RAW, {0: (0, far + 1), 1: (0, far)}, at_once=2)
    assert [row[1] for chunk in chunks for row in chunk] == [0, 1, far]


def test_a_topic_that_is_larger_than_the_memory_is_read_in_pieces(lake, tmp_path):
    file = tmp_path / "bronze.parquet"
    value = "repeat(md5(i::VARCHAR), 64)::BLOB"
    lake.execute(
        f'COPY (SELECT i % 2 AS partition, i // 2 AS "offset", make_timestamp(i * 1000) AS kafka_time, '
        f"''::BLOB AS key, {value} AS value FROM range(60_000) AS _(i)) TO '{file}' (ROW_GROUP_SIZE 4096)"
    )
    lake.execute("SET memory_limit = '60MB'")
    lake.execute(f"CREATE VIEW {quoted(RAW.name)} AS SELECT * FROM read_parquet('{file}')")
    with pytest.raises(duckdb.OutOfMemoryException):
        lake.execute(WHOLE).fetchall()
    sizes = [len(chunk) for chunk in in_order(lake, RAW, {0: (0, 30_000), 1: (0, 30_000)}, 4_000)]
    assert sum(sizes) == 60_000
    assert max(sizes) < 10_000


def test_of_large_records_fewer_are_held(lake):
    """A few kilobytes here and there among small ones."""
    fill(lake, {p: range(400) for p in (0, 1)})
    lake.execute(
        f"UPDATE {quoted(RAW.name)} SET value = repeat('x', 2_000)::BLOB WHERE \"offset\" BETWEEN 100 AND 200"
    )
    chunks = list(in_order(lake, RAW, {0: (0, 400), 1: (0, 400)}, at_once=300, at_most=10_000))
    assert [row for chunk in chunks for row in chunk] == lake.execute(WHOLE).fetchall()
    assert max(sum(len(value) for *_, value in chunk) for chunk in chunks) <= 20_000 + 2 * 2_000
    assert len(chunks) < 100

"""A dimension is the same however its versions come, in batches of any size and any order, at a cost of what comes."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from schemas.contract import CONTRACTS
from schemas.gold import DIM_PRODUCTS, TRACKED
from schemas.table import GONE
from schemas.tables import versions
from streams.lake.change import Change
from streams.lake.frames import frame_schema
from streams.lake.gold import history as module
from streams.lake.gold.history import History, history, version_columns

CONTRACT = CONTRACTS["products"]
PAST = versions(CONTRACT)
SCHEMA = frame_schema(PAST)
KEY = list(DIM_PRODUCTS.key)
START = datetime(2026, 3, 2, tzinfo=UTC)


def version(product: str, number: int, chance: random.Random) -> dict:
    """Prices of two kinds, so that runs are long; times that go back now and then; some deletions."""
    deleted = chance.random() < 0.1
    return dict.fromkeys(SCHEMA) | {
        "product_id": product,
        "version": number,
        "event_id": f"{product}-{number}",
        "op": "d" if deleted else "u",
        "occurred_at": START + timedelta(minutes=number + chance.randrange(-20, 20)),
        "price": None if deleted else chance.choice([1, 1, 1, 2]),
        "stock_quantity": chance.randrange(100),
    }


def frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def empty() -> pl.DataFrame:
    return frame([])


class Dimension:
    """The rows that stand after each batch."""

    def __init__(self, past: pl.DataFrame) -> None:
        self.part = History(CONTRACT, DIM_PRODUCTS, past)
        self.past, self.rows = past, {}
        self._stand(module.replaced(DIM_PRODUCTS, history(CONTRACT, self._known().clear()), self.expected()))

    def batch(self, rows: list[dict]) -> None:
        found = self.part.fold({"products": Change(empty(), empty(), frame(rows))})
        self.part.take_in()
        self.past = pl.concat([self.past, found.get(PAST.name, empty()).select(list(SCHEMA))])
        self._stand(found.get(DIM_PRODUCTS.name))

    def expected(self) -> pl.DataFrame:
        return history(CONTRACT, self._known())

    def expect_right(self) -> None:
        names = list(frame_schema(DIM_PRODUCTS))
        expected = self.expected().select(names).sort(KEY).rows()
        assert sorted(self.rows.values(), key=lambda row: (row[0], row[names.index("version")])) == expected
        assert not self.past.select(KEY).is_duplicated().any()

    def _known(self) -> pl.DataFrame:
        return self.past.select(version_columns(CONTRACT))

    def _stand(self, rows: pl.DataFrame | None) -> None:
        names = list(frame_schema(DIM_PRODUCTS))
        for row in () if rows is None else rows.iter_rows(named=True):
            key = tuple(row[name] for name in KEY)
            if row[GONE]:
                del self.rows[key]
            else:
                self.rows[key] = tuple(row[name] for name in names)


def cut(rows: list[dict], chance: random.Random) -> Iterator[list[dict]]:
    while rows:
        size = chance.randrange(1, 12)
        yield rows[:size]
        rows = rows[size:]


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_history_of_all_versions_in_whatever_order_they_come(seed):
    """Mostly in order, some late, some twice; now and then begun again from what is stored."""
    chance = random.Random(seed)
    rows = [version(f"p{n % 3}", n // 3 + 1, chance) for n in range(180)]
    late = chance.sample(rows, 30)
    order = [row for row in rows if row not in late]
    for row in (*late, *chance.sample(rows, 20)):  # the latter a second time, or too early
        order.insert(chance.randrange(len(order)), row)
    dimension = Dimension(empty())
    for batch in cut(order, chance):
        dimension.batch(batch)
        dimension.expect_right()
        if chance.random() < 0.1:
            dimension = Dimension(dimension.past)
            dimension.expect_right()
    assert dimension.past.height == len(rows)
    assert {"price", "name"} <= set(TRACKED["products"])


def test_what_comes_behind_all_costs_what_comes_however_many_versions_there_are(monkeypatch):
    chance = random.Random(5)
    dimension = Dimension(frame([version("p", n, chance) for n in range(1, 3_001)]))
    looked: list[int] = []
    in_order = module._in_order

    def counted(contract, rows):
        looked.append(rows.height)
        return in_order(contract, rows)

    monkeypatch.setattr(module, "_in_order", counted)
    new = [version("p", 3_001, chance), version("p", 3_002, chance)]
    dimension.part.fold({"products": Change(empty(), empty(), frame(new))})
    assert max(looked) <= 2 + len(new)
    looked.clear()
    dimension.part.fold({"products": Change(empty(), empty(), frame([version("p", 3_000, chance)]))})
    assert max(looked, default=0) == 0  # there already
    monkeypatch.undo()
    dimension.batch(new)
    dimension.expect_right()

"""Records of bronze are read as many at a time as fit into so many bytes: every record once, and in order."""

import random

import pytest

from streams.bronze import Bronze
from streams.lake.place import lake_root
from streams.windows import windows
from tests.helpers import isolated_settings
from tests.serving.lake_kit import SmallLake, raw_order

MOST = 1_000


@pytest.mark.parametrize("seed", range(8))
def test_every_record_comes_once_and_no_more_at_a_time_than_fit(seed):
    chance = random.Random(seed)
    sizes = {
        offset: chance.choice((0, 1, 10, 300, 2 * MOST) if offset // 50 % 2 else (0, 1))
        for offset in range(300)
        if chance.random() < 0.8
    }
    held = [0]

    def read(first, end):
        assert end - first <= 40
        held[0] = 0
        for offset, size in sizes.items():
            if first <= offset < end:
                held[0] += size
                assert held[0] <= MOST + 2 * MOST, "one record more than fits"
                yield offset

    found = list(windows(read, sizes.get, 0, 300, offsets=40, at_most=MOST))
    assert [offset for rows in found for offset in rows] == list(sizes)
    assert all(len(rows) == 1 or sum(map(sizes.get, rows)) <= MOST for rows in found)


def test_bronze_gives_large_records_a_few_at_a_time(tmp_path, monkeypatch):
    settings = isolated_settings(tmp_path)
    lake = SmallLake(lake_root(settings, "g1"), settings)
    values = {offset: bytes([offset % 251]) * (3 if offset < 40 else 5_000) for offset in range(100)}
    del values[7], values[63]
    places = [(offset, p) for offset in values for p in (0, 1)]
    random.Random(1).shuffle(places)
    for n in range(0, len(places), 50):
        rows = [{**raw_order(offset, p), "value": values[offset]} for offset, p in places[n : n + 50]]
        lake.write({"raw_orders": rows}, position=25)
    lake.close()
    at_once = []

    def noting(*given, **limits):
        for rows in windows(*given, **limits):
            at_once.append(sum(len(value) for *_, value, _ in rows))
            yield rows

    monkeypatch.setattr("streams.bronze.windows", noting)
    monkeypatch.setattr("streams.bronze.WINDOW_BYTES", 20_000)
    bronze = Bronze(settings, "g1", lake.manifest, {("orders", 0): 100})
    found = list(bronze.messages("orders", 1, 2, 99))
    expected = {offset: value for offset, value in values.items() if 2 <= offset < 99}
    assert [(each.offset(), each.value()) for each in found] == list(expected.items())
    assert {each.headers()[0] for each in found} == {("h", b"\x00\x01")}
    assert 0 < max(at_once) <= 20_000
    assert bronze.offsets("orders", 1, 2, 99) == list(expected)

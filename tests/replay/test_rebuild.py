"""A topic is read from bronze to be written again: in order, and large records a few at a time."""

import random

from replay.rebuild import _records
from serving.lake.reader import Lake
from streams.windows import size_of, windows
from tests.helpers import isolated_settings
from tests.serving.lake_kit import SmallLake, raw_order


def test_large_records_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    writer = SmallLake(tmp_path / "lake", isolated_settings(tmp_path))
    values = {offset: bytes([offset % 251]) * (3 if offset < 60 else 5_000) for offset in range(5, 120)}
    del values[50], values[70]
    places = [(offset, p) for offset in values for p in (0, 1)]
    random.Random(1).shuffle(places)
    for n in range(0, len(places), 60):
        rows = [{**raw_order(offset, p), "value": values[offset]} for offset, p in places[n : n + 60]]
        writer.write({"raw_orders": rows}, position=30)
    writer.close()
    at_once = []

    def noting(*given, **limits):
        for rows in windows(*given, **limits):
            at_once.append(sum(map(size_of, rows)))
            yield rows

    monkeypatch.setattr("replay.rebuild.windows", noting)
    monkeypatch.setattr("replay.rebuild.WINDOW_BYTES", 20_000)
    lake = Lake(writer.root)
    found = list(_records(lake, lake.newest(), "orders", 0))
    assert [value for _, _, value, _ in found] == list(values.values())
    assert [key for _, key, *_ in found] == [f"o{offset}".encode() for offset in values]
    assert {tuple(headers) for *_, headers in found} == {(("h", b"\x00\x01"),)}
    assert 0 < max(at_once) <= 20_000

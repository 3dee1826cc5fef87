"""A difference that the disk has no room for is not begun: both generations' rows are written out before."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.settings import Settings
from replay.diff.errors import NotComparable
from replay.diff.room import check_room, written
from streams.lake.place import lake_root
from tests.helpers import isolated_settings
from tests.serving.lake_kit import SmallLake, raw_order


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return isolated_settings(tmp_path)


@pytest.fixture
def lake(settings: Settings) -> Iterator[SmallLake]:
    found = SmallLake(lake_root(settings, "g1"), settings)
    yield found
    found.close()


def test_what_is_written_out_has_to_have_room(settings, lake, monkeypatch):
    free = SimpleNamespace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    check_room(settings, [lake.manifest, lake.manifest])  # no rows yet
    lake.write({"raw_orders": [raw_order(1)], "record_outcomes": []})
    assert written(settings, lake.manifest) == 0  # bronze is not written out
    lake.write({"sessions": [{"session_id": "s"}]})
    size = written(settings, lake.manifest)
    assert size > 0
    assert written(settings, lake.manifest, frozenset({"dim_products"})) == 0
    assert (
        written(settings, lake.manifest, frozenset({"revenue"})) == size
    )  # metrics are computed from silver
    with pytest.raises(NotComparable, match=r"0.0 GB are free: compare less.*replay gc"):
        check_room(settings, [lake.manifest, lake.manifest])
    free.free = 3 * size
    check_room(settings, [lake.manifest, lake.manifest])

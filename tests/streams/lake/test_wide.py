"""A table with more columns than Delta keeps statistics of by default is looked after like any other."""

import random

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from schemas.table import BATCH
from streams.lake import table
from streams.lake.upkeep import Upkeep
from tests.streams.lake.newer import declare_anew, forget_schemas
from tests.streams.lake.restless import events
from tests.streams.lake.shop import judged_events
from tests.streams.lake.test_batches import Driver, content, cut, expect_right

WIDE = ("customers", "orders")


def wide(fields):
    """Forty more columns."""
    fields += [
        {"name": f"more_{n}", "type": ["null", "string"], "default": None, "doc": "More."} for n in range(40)
    ]


@pytest.fixture
def declared_wide(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.lake.upkeep.FOLD_FROM_ROWS", 5)
    for topic in WIDE:
        declare_anew(monkeypatch, tmp_path / "declared", topic, wide)
    yield
    forget_schemas()


@pytest.mark.parametrize("is_older", [False, True], ids=["made now", "made without statistics"])
@pytest.mark.usefixtures("declared_wide")
@pytest.mark.cases(1)
def test_a_table_of_many_columns_is_folded(tmp_path, is_older, monkeypatch, caplog):
    batches = list(cut(judged_events(events(26, 400)), random.Random(26), 12))
    if is_older:
        with monkeypatch.context() as patched:
            patched.setattr(table, "PROPERTIES", {})
            driver = Driver(tmp_path)
            for batch in batches[:2]:
                driver.run(batch)
            # Without a start in between that sets properties.
            before = content(driver.root, driver.manifest)
            driver.manifest = tidied(driver)
            assert content(driver.root, driver.manifest) == before
            assert driver.manifest.folded.keys() >= {*WIDE}
        driver = Driver(tmp_path)
        batches = batches[2:]
    else:
        driver = Driver(tmp_path)
    for batch in batches:
        driver.run(batch)
    before = content(driver.root, driver.manifest)
    driver.manifest = tidied(driver)
    assert driver.manifest.folded.keys() >= {*WIDE}
    assert "failed" not in caplog.text
    assert content(driver.root, driver.manifest) == before
    for topic in WIDE:
        files = pa.table(DeltaTable(driver.store.uri(topic)).get_add_actions(flatten=True))
        assert files[f"min.{BATCH}"].drop_null(), "what was written last has them"
    expect_right(driver.root, driver.manifest)


def tidied(driver):
    return driver.store.upkeep(Upkeep(driver.store.failpoints, driver.home / "scratch"), driver.manifest)

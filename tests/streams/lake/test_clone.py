"""A lake that begins as another one has the same rows, shared or made anew, and goes on by itself."""

import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from infra.generations import Clone, Generation
from infra.runtime.platform import ROOT
from schemas.errors import GenerationError
from schemas.tables import TABLES
from serving.lake.reader import Gone, Lake, NoSuchManifest
from streams.lake import clone, upkeep
from streams.lake.code import definition
from streams.lake.manifest import newest_manifest
from streams.lake.parts import DERIVED
from streams.lake.place import DRAFT, MANIFESTS, lake_root
from tests.helpers import isolated_settings
from tests.streams.lake import points
from tests.streams.lake.cloned import ALL_ANEW, begin
from tests.streams.lake.restless import events
from tests.streams.lake.shop import judged_events
from tests.streams.lake.test_batches import Driver, content, cut, expect_right

SEED = 23


def filled(home: Path) -> tuple[list, int]:
    """The lake of g1, tidied now and then; the batches that are still to come, and when schemas changed."""
    settings = isolated_settings(home)
    driver = Driver(home, root=lake_root(settings, "g1"))
    # What decides about records, as the job has it; schemas that were others at first.
    driver.manifest = replace(driver.manifest, definition=definition(settings), schemas={"orders": (1,)})
    tidy = upkeep.Upkeep(driver.store.failpoints, home / "scratch")
    batches = list(cut(judged_events(events(SEED, 900)), random.Random(SEED), 25))
    half = len(batches) // 2
    for n, batch in enumerate(batches[:half]):
        if n == half // 2:
            driver.manifest = replace(driver.manifest, schemas={"orders": (1, 2)})
        driver.run(batch)
        if n % 7 == 6:
            driver.manifest = driver.store.upkeep(tidy, driver.manifest)
    return batches[half:], half // 2


class Base:
    """The lake of g1 below `home`, and the batches that are still to come."""

    def __init__(self, home: Path, rest: list, change_at: int) -> None:
        self.home, self.rest, self.change_at = home, rest, change_at
        settings = isolated_settings(home)
        self.driver = Driver(home, root=lake_root(settings, "g1"))
        self.root = lake_root(settings, "g2")

    def clone(self) -> Driver:
        """A driver of the lake of g2."""
        return Driver(self.home, root=self.root, generation="g2")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list, int]:
    home = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "FOLD_FROM_ROWS", 10)
        patch.setattr(upkeep, "SMALL_FILES", 6)
        return home, *filled(home)


@pytest.fixture
def base(once: tuple[Path, list, int], tmp_path: Path) -> Base:
    home, rest, change_at = once
    shutil.copytree(home, tmp_path / "home")
    return Base(tmp_path / "home", list(rest), change_at)


@pytest.mark.parametrize(
    "tables",
    [pytest.param((), marks=pytest.mark.longhaul), ("daily_sales", "dim_products"), DERIVED],
    ids=["none", "some", "all"],
)
@pytest.mark.cases(1)
def test_it_has_the_same_rows_and_goes_on_by_itself(base: Base, tables, monkeypatch):
    monkeypatch.setattr(clone, "AT_ONCE", 37)
    monkeypatch.setattr(upkeep, "FOLD_FROM_ROWS", 10)
    begin(base.home, Generation(2, {}, clone=Clone(1, tables)))
    before = content(base.driver.root, base.driver.manifest)
    mine = base.clone()
    assert content(mine.root, mine.manifest) == before
    assert (mine.manifest.until, mine.manifest.counts) == (
        base.driver.manifest.until,
        base.driver.manifest.counts,
    )
    # Each goes on, one further than the other; what one of them tidies away the other keeps.
    for batch in base.rest[:5]:
        base.driver.run(batch)
    assert content(mine.root, mine.manifest) == before
    shutil.rmtree(base.driver.root)
    tidy = upkeep.Upkeep(mine.store.failpoints, base.home / "scratch")
    for batch in base.rest:
        mine.run(batch)
    mine.manifest = mine.store.upkeep(tidy, mine.manifest)
    expect_right(mine.root, base.clone().manifest)


def test_a_lake_behind_a_link_is_cloned_like_any_other(base: Base, tmp_path: Path):
    (tmp_path / "link").symlink_to(base.home)
    begin(tmp_path / "link")
    mine = base.clone()
    assert content(mine.root, mine.manifest) == content(base.driver.root, base.driver.manifest)


def test_files_are_shared_but_for_what_is_made_anew(base: Base):
    begin(base.home, Generation(2, {}, clone=Clone(1, ("daily_sales",))))
    shared = {
        name
        for name in TABLES
        for file in Path(base.root, name).rglob("*.parquet")
        if file.stat().st_nlink > 1
    }
    alone = {
        name
        for name in TABLES
        for file in Path(base.root, name).rglob("*.parquet")
        if file.stat().st_nlink == 1
    }
    assert alone == {"daily_sales"}
    assert shared >= {
        "raw_orders",
        "orders",
        "fct_orders",
        "product_performance",
        "quarantine",
        "record_outcomes",
    }


def test_what_is_no_manifest_s_stays_behind(base: Base):
    """The base's driver died after a table's commit and before the manifest."""
    [batch, *_] = base.rest
    before = content(base.driver.root, base.driver.manifest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base.driver.store, "_seal", lambda manifest, *_: manifest)
        base.driver.run(batch)
    begin(base.home)
    mine = base.clone()
    assert content(mine.root, mine.manifest) == before


def test_it_knows_which_schemas_were_known_when_and_says_that_older_tables_are_gone(base: Base):
    begin(base.home)
    lake, theirs = Lake(base.root), Lake(base.driver.root)
    last, was = lake.newest(), theirs.newest()
    mine = [(era.until, era.schemas) for era in lake.eras(0, last)]
    assert mine == [(era.until, era.schemas) for era in theirs.eras(0, was)]
    assert [schemas for _, schemas in mine] == [{"orders": (1,)}, {"orders": (1, 2)}]
    assert lake.recent(5) == [last]
    assert lake.at(last.number) == last
    for number in (1, base.change_at, last.number - 1):
        with pytest.raises(Gone, match="began as a clone"):
            lake.at(number)
    assert lake.before(last.kafka_time) == last
    with pytest.raises(Gone, match=f"that time is before this lake, .* at manifest {last.number}"):
        lake.before(last.kafka_time - 1)
    with pytest.raises(NoSuchManifest):
        lake.at(last.number + 1)
    DeltaTable(f"{base.root}/{MANIFESTS}").optimize.compact()
    assert Lake(base.root).before(last.kafka_time) == last
    assert [(era.until, era.schemas) for era in Lake(base.root).eras(0, last)] == mine


@pytest.mark.parametrize(
    "point",
    [
        "lake.before_made_anew:3",
        "lake.after_clone_is_there",
        *(
            pytest.param(each, marks=pytest.mark.longhaul)
            for each in ("lake.after_link:9", "lake.before_clone_is_there", *points.CLONE[:4])
        ),
    ],
)
@pytest.mark.cases(1)
def test_killed_while_it_is_made_it_is_there_or_not(base: Base, point: str):
    env = {**os.environ, "DATAFLOW_FAILPOINT": point, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.streams.lake.cloned", str(base.home)]
    done = subprocess.run(
        command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    there = point == "lake.after_clone_is_there"
    assert (newest_manifest(base.root) is not None) == there
    assert Path(base.root).exists() == there
    # What has come since is taken over too, unless it was there.
    if not there:
        base.driver.run(base.rest.pop(0))
    begin(base.home)
    mine = base.clone()
    assert content(mine.root, mine.manifest) == content(base.driver.root, base.driver.manifest)
    assert not Path(base.root + DRAFT).exists()


def test_what_it_cannot_begin_as_is_refused_with_the_way_out(base: Base, tmp_path: Path):
    with pytest.raises(
        GenerationError, match=r"expected a lake of g7 to begin with, and it has none: .*replay run"
    ):
        begin(base.home, replace(ALL_ANEW, clone=Clone(7)))
    settings = isolated_settings(base.home, shop_timezone="Asia/Kolkata")
    with pytest.raises(GenerationError, match=r"judged as now, and SHOP_TIMEZONE are others"):
        clone.begin_as_clone(settings, ALL_ANEW, base.driver.store.failpoints)
    assert not Path(base.root).exists()

"""A replay by unchanged code is the live generation once more, value for value: lake tables and live numbers.

On a seeded shop with all dials up, on the demo and on real data; for verdicts anew, out of a lake of its own, and of
parts out of the live one's lake.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflow.commands.up import DEMO
from infra.code import ROOT
from infra.generations import State, read_generations
from infra.runtime.platform import ALL, Platform
from infra.settings import Settings
from schemas.metrics import METRICS
from schemas.tables import GOLD
from serving.generation_progress import read_progress
from streams.lake.manifest import newest_manifest
from streams.lake.place import lake_root
from tests.e2e.kit import Rest, Shop
from tests.e2e.test_real_data import WHOLE, imported
from tests.helpers import isolated_settings, wait_for
from tests.sources.test_importer_online_retail import DATA, EXCERPT

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(1_500)]
PATIENCE = 600
# The verifier has tests of its own; what is compared here is done by `diff`.
PROCESSES = tuple(name for name in ALL if name != "verifier")
WAYS = {
    "verdicts": (),
    "lake-first": ("--lake-first",),
    "parts": ("--metric", "revenue", "--table", "daily_sales"),
}


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("unchanged")
    return isolated_settings(home, kafka_partitions=2, shop_currency="GBP")


def replay(settings: Settings, *arguments: str) -> dict:
    """`dataflow replay …`, as typed in the tree that the platform runs by. Raises AssertionError unless all is well."""
    line = [sys.executable, "-m", "dataflow", "replay", *arguments, "--json"]
    done = subprocess.run(
        line, env={**os.environ, **settings.environ()}, cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr
    return json.loads(done.stdout)


def all_up(platform: Platform, directory: Path) -> None:
    Shop(platform.settings, 100_000, 77).produce(6_000)


def excerpt(platform: Platform, directory: Path) -> None:
    imported(platform, [EXCERPT], directory)


def whole(platform: Platform, directory: Path) -> None:
    imported(platform, DATA, directory)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "fill",
    [all_up, excerpt, pytest.param(whole, marks=[WHOLE, pytest.mark.timeout(5_400)])],
    ids=lambda fill: fill.__name__.replace("_", "-"),
)
def test_it_equals_the_live_one(
    settings: Settings, tmp_path: Path, fill: Callable[[Platform, Path], None], way: str
) -> None:
    with Platform(settings, PROCESSES, preferred_ports=False) as platform:
        fill(platform, tmp_path)
        expect_equal(platform, WAYS[way])


def test_it_equals_the_live_one_while_the_demo_runs(settings: Settings) -> None:
    with Platform(settings, PROCESSES, demo=DEMO, preferred_ports=False) as platform:
        counted = current_records(platform.settings, 1)
        wait_for(lambda: current_records(platform.settings, 1) > counted + 2_000, PATIENCE, "2,000 records")
        expect_equal(platform, ())


def expect_equal(platform: Platform, way: tuple[str, ...]) -> None:
    """Replayed, followed up to where the live one is, and compared at one barrier: no row differs."""
    settings, rest = platform.settings, Rest(platform.url)
    rest.at_ends(settings, PATIENCE)
    wait_for(lambda: newest_manifest(lake_root(settings, "g1")), PATIENCE, "g1's lake")
    assert replay(settings, "plan", *way)["changed"] == []
    began = replay(settings, "run", "--yes", "--detach", "--throttle", "0", *way)
    assert began["progress"]["generation"] == "g2"
    known = wait_for(lambda: read_generations(settings).known.get(2), 30, "the record of g2")
    wait_for(lambda: read_progress(settings, known.generation).behind < 500, PATIENCE, "g2, caught up")
    found = replay(settings, "diff", "--patience", "300")
    names = {each["name"] for each in found["relations"]}
    assert names >= set(METRICS) | {table.name for table in GOLD}
    assert [each for each in found["relations"] if not each["equal"]] == []
    assert (found["only_in_one"], found["only_in_other"]) == ([], [])
    same = Counter()
    for each in found["relations"]:
        same[each["name"]] += each["rows"]["equal"]
    assert same["revenue"] > 0
    assert same["daily_sales"] > 0
    replay(settings, "cancel", "g2", "--yes")
    assert read_generations(settings).known[2].state is State.GONE
    rest.http.close()


def current_records(settings: Settings, number: int) -> int:
    """How many records a generation has counted."""
    return read_progress(settings, read_generations(settings).of(number).generation).records

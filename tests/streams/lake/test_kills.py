"""Killed by SIGKILL at each failpoint of a batch, of upkeep and of a start, the tables are the same and are right.

The store and the folds alone, in a process that goes on from what the one before it left; the job with Spark around
them is killed in tests/e2e/test_lake_kills.py.
"""

import os
import random
import signal
import subprocess
import sys

import pytest

from infra.runtime.platform import ROOT
from tests.chaos.conftest import SEED
from tests.helpers import isolated_settings
from tests.streams.lake import points

LARGEST_COUNT = 3
SECONDS = 240
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Driven:
    """One lake after the other below `home`, each filled by processes that are killed."""

    def __init__(self, home, seed):
        self._parent, self._seed, self._kills = home, seed, 0
        self.home = home / str(seed)

    def run(self, failpoint="", *options):
        """How a process ends that goes on with this lake; it is killed at `failpoint` if it gets there."""
        self.home.mkdir(exist_ok=True)
        env = {**os.environ, "PYTHONHASHSEED": "0", "DATAFLOW_FAILPOINT": failpoint, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.streams.lake.driven", self.home, str(self._seed), *options]
        done = subprocess.run(
            command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode in (0, -signal.SIGKILL), (
            f"{failpoint}: {done.returncode}\n{done.stderr[-4_000:]}"
        )
        return done.returncode

    def kill(self, point, count=1, *options):
        """Have a process killed there. A lake that is full and right by then is followed by another one."""
        for hits in (count, 1, 1):
            marker = isolated_settings(self.home).state_dir / "failpoints" / point
            marker.unlink(missing_ok=True)
            if self.run(f"{point}:{hits}", *options):
                assert marker.exists(), f"something else than {point} has killed it"
                self._kills += 1
                return
            self._seed += 1
            self.home = self._parent / str(self._seed)
        pytest.fail(f"nothing was killed at {point}, whatever it did")

    def finish(self, *options):
        """Fill the lake; the process compares it with the second computation and fails if it differs."""
        assert self.run("", *options) == 0


def test_killed_at_some_writes_of_each_kind_the_tables_are_right(tmp_path):
    driven = Driven(tmp_path, 41)
    for point, count in (
        ("lake.after_append_raw_orders", 2),
        ("lake.after_silver", 1),
        ("lake.before_take_back", 2),
        ("lake.before_append_sessions", 1),
        ("lake.before_append__manifests", 2),
        ("lake.after_append__manifests", 2),
        ("lake.before_vacuum", 2),
        ("lake.after_upkeep", 3),
    ):
        driven.kill(point, count)
    driven.finish()


@pytest.mark.longhaul
def test_killed_while_tables_get_new_columns_the_tables_are_right(tmp_path):
    driven = Driven(tmp_path, 42)
    driven.kill("lake.before_gold", 4)
    driven.kill("lake.before_new_column", 2, "longer")
    driven.kill("lake.after_new_column", 1, "longer")
    driven.finish("longer")


@pytest.mark.longhaul
@pytest.mark.timeout(3_600)
def test_killed_at_every_failpoint_in_any_order_the_tables_are_right(tmp_path):
    chance = random.Random(SEED)
    driven = Driven(tmp_path, SEED)
    todo = [*points.BATCH, *points.UPKEEP, *points.TAKE_BACK]
    chance.shuffle(todo)
    for point in todo:
        if point in points.TAKE_BACK:
            driven.kill(points.HALF_WAY)
        driven.kill(point, chance.randint(1, LARGEST_COUNT))
    driven.finish()


def test_no_failpoint_is_left_out():
    listed = {
        *points.BATCH,
        *points.UPKEEP,
        *points.TAKE_BACK,
        *points.NEW_COLUMNS,
        *points.QUERY,
        *points.ARCHIVE,
        *points.CLONE,
    }
    assert points.in_the_code() == listed

"""The clock of a machine is set back and forth while a platform works, and while its processes start: all stays exact.

What is moved is the clock of every Python process. The broker's and the JVMs' cannot be, and no number goes by them.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.kit import PROVEN, Killer, World, world
from tests.helpers import wait_for

HOUR, DAY = 3_600, 86_400
MOVED = Path(__file__).with_name("moved")
STARTED_IN_TURN = ("materializer", "api", "live", "lake", "verifier")

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.longhaul, pytest.mark.timeout(2_400)]
Move = Callable[[float], None]


@pytest.fixture
def move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Sets the clock of what is started from now on so many seconds off the true one."""
    file, draft = tmp_path / "clock", tmp_path / "clock.new"

    def move(seconds: float) -> None:
        draft.write_text(str(seconds))
        draft.replace(file)

    move(0)
    monkeypatch.setenv("MOVED_CLOCK", str(file))
    monkeypatch.setenv("PYTHONPATH", str(MOVED))
    return move


@pytest.fixture
def moving(move: Move, tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "home", 29, processes=PROVEN, verify_seconds=5) as made:
        yield made


def test_a_clock_that_jumps_changes_no_number_and_holds_nobody_up(moving: World, move: Move) -> None:
    killer = Killer(moving.platform, random.Random(29))
    with moving.proven(), moving.watched():
        for seconds in (-HOUR, 2 * DAY, -20 * 365 * DAY, 0):
            with moving.shop.flowing(60):
                move(seconds)
                wait_for(lambda by=seconds: is_moved(moving, "live", by), 60, "the other clock")
                for name in STARTED_IN_TURN:
                    before = moving.platform.supervisor.process(name).restarts
                    killer.kill(name)
                    wait_for(
                        lambda n=name, b=before: moving.platform.supervisor.process(n).restarts > b,
                        60,
                        f"{name}'s restart",
                    )
                    # Again while it starts: it must not be waited for until the clock has come so far.
                    move(seconds - HOUR)
                    moving.platform.wait_ready(name)
                    move(seconds)
            moving.settle(600)
        assert all(killer.kills[name] == 4 for name in STARTED_IN_TURN)
        infos = {info.name: info.restarts for info in moving.platform.supervisor.processes()}
        assert {name: infos[name] for name in STARTED_IN_TURN} == dict(killer.kills), (
            "some had to start again"
        )
        moving.verifier_agrees(600)


def is_moved(world: World, name: str, seconds: float) -> bool:
    at = json.loads(world.status_file(name).read_text())["at"]
    return abs(at - time.time() - seconds) < 30

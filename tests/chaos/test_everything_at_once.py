"""The supervisor and all its children die in the same moment, again and again, while a producer goes on trying.

The producer and the reader live in the test's process; everything else is killed.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.runtime.child import group_members, signal_group
from infra.runtime.platform import ROOT
from infra.runtime.run_state import kill_leftovers, read_run
from tests.chaos.hold import settings_at
from tests.chaos.kit import Reader, Rest, Shop, expect_prefixes, expect_truth
from tests.helpers import wait_for

pytestmark = [pytest.mark.longhaul, pytest.mark.timeout(900)]

# How the rounds differ: whether the platform is ready before the random moment begins to count, and its length in s.
ROUNDS = ((True, (1, 6)), (False, (2, 18)), (True, (0, 3)), (False, (5, 25)))


class Held:
    """The platform in a process of its own, started again and again over one state directory."""

    def __init__(self, home: Path, *processes: str) -> None:
        self.home, self.settings, self.processes = home, settings_at(home), processes
        self.process: subprocess.Popen | None = None
        self.kills = 0

    def launch(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.hold", str(self.home), *self.processes]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def wait_ready(self) -> None:
        assert self.process.stdout.readline() == "ready\n", (
            "the platform did not start; see its log directory"
        )

    def kill_everything(self) -> int:
        """SIGKILL for the supervisor, its watchdog and every child; returns how many processes that were."""
        run = read_run(self.settings.state_dir)
        groups = (
            [row["pid"] for row in run.processes if row["pid"]] if run and run.pid == self.process.pid else []
        )
        own = psutil.Process(self.process.pid).children(recursive=True)
        victims = {pid for group in groups for pid in group_members(group)} | {p.pid for p in own}
        self.process.kill()  # first, or it would start again what it sees die
        for process in own:
            signal_group(process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.process.stdout.close()

        def left() -> list[int]:
            return [
                pid
                for pid in victims
                if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
            ]

        wait_for(lambda: not left(), 10, "the end of everything")
        self.kills += 1
        return len(victims) + 1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        self.process.stdout.close()
        kill_leftovers(self.settings.state_dir)


def test_everything_dies_at_once_and_the_next_start_goes_on_exactly(tmp_path, seed):
    chance, held = random.Random(seed), Held(tmp_path)
    held.launch()
    try:
        held.wait_ready()
        run = read_run(held.settings.state_dir)
        settings = held.settings.replace(**run.addresses)
        shop, rest = Shop(settings, 60_000, seed), Rest(run.url)
        shop.produce(1_000)
        rest.at_ends(settings)
        with Reader(run.url).asking() as reader:
            with shop.flowing(200):
                for ready_first, (shortest, longest) in ROUNDS:
                    if ready_first:
                        held.wait_ready() if held.kills else None
                    moment = chance.uniform(shortest, longest)
                    print(f"round {held.kills + 1}: {moment:.2f} s, ready first: {ready_first}")
                    time.sleep(moment)  # the moment is the random part
                    assert held.kill_everything() >= 2
                    held.launch()
                held.wait_ready()
                assert read_run(held.settings.state_dir).addresses == run.addresses
                answers = len(reader.answers)
                wait_for(lambda: len(reader.answers) > answers + 20, 180, "answers after the last start")
            rest.at_ends(settings, 240)
        assert held.kills == len(ROUNDS)
        assert reader.faults == []
        assert (
            reader.refused + reader.away > 0
        )  # after each start the API was rebuilding, or away, for a moment
        expect_truth(rest, shop.truth)
        expect_prefixes(settings, reader.answers, 5)
        rest.http.close()
    finally:
        held.close()

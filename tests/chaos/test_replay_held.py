"""Supervisor and children die together, in the middle of a replay and around its switches; the next start goes on."""

import json
import os
import random
import subprocess
import sys
import time

import httpx
import pytest

from infra.generations import read_generations
from infra.runtime.platform import ROOT
from infra.runtime.run_state import read_run
from serving.generation_progress import read_progress
from tests.chaos.kit import LIVE, Rest, Shop, expect_prefixes, expect_truth
from tests.chaos.test_everything_at_once import Held
from tests.e2e.kit import Across
from tests.helpers import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.chaos, pytest.mark.timeout(2_400)]
PATIENCE = 600


class Replayed(Held):
    """A platform with a lake, and the commands that are given beside it."""

    def again(self) -> None:
        """Everything dies; the next start has it all."""
        addresses = read_run(self.settings.state_dir).addresses
        assert self.kill_everything() > len(self.processes)
        self.launch()
        self.wait_ready()
        assert read_run(self.settings.state_dir).addresses == addresses

    def command(self, *arguments: str, until: float = 0.0) -> dict:
        """What it tells; one that is told to try again is tried again for `until` seconds."""
        line = [sys.executable, "-m", "dataflow", "replay", *arguments, "--json"]
        env = {**os.environ, **self.settings.environ(), "PYTHONPATH": str(ROOT)}
        deadline = time.monotonic() + until
        while True:
            done = subprocess.run(
                line, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
            if not done.returncode or "try again" not in done.stderr or time.monotonic() > deadline:
                break
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


def test_everything_dies_in_a_replay_and_around_its_switches_and_the_next_start_goes_on(tmp_path, seed):
    chance, held = random.Random(seed), Replayed(tmp_path, *LIVE, "lake")
    held.launch()
    try:
        held.wait_ready()
        run = read_run(held.settings.state_dir)
        settings = held.settings.replace(**run.addresses)
        shop, rest = Shop(settings, 200_000, seed), Rest(run.url)
        shop.produce(8_000)
        rest.at_ends(settings)

        def behind() -> int:
            known = read_generations(settings).of(2).generation
            time.sleep(1)  # a look is a client of its own
            return read_progress(settings, known).numbers_behind

        def served() -> str | None:
            try:
                return (rest.http.get("/v1/status").json()["as_of"] or {}).get("generation")
            except (httpx.HTTPError, KeyError, ValueError):
                return None

        with Across(run.url).asking() as reader:
            with shop.flowing(20):
                held.command("run", "--yes", "--detach", "--throttle", "200")
                for most in (7_000, 4_000):
                    wait_for(
                        lambda most=most: behind() < most, PATIENCE, f"g2, at most {most:,} records behind"
                    )
                    time.sleep(chance.uniform(0, 8))  # the moment is the random part
                    held.again()
                wait_for(lambda: behind() < 500, PATIENCE, "g2, caught up")
                assert held.command("diff", "--patience", "300")["equal"]
                held.command("promote", "g2", "--unverified", until=PATIENCE)
                held.again()
                before = len(reader.answers)
                wait_for(
                    lambda: any(each["as_of"]["generation"] == "g2" for each in reader.answers[before:]),
                    PATIENCE,
                    "answers of g2",
                )
                held.command("rollback", "--leaving", "g2", "--patience", "400", until=PATIENCE)
                held.again()
                wait_for(lambda: served() == "g1", PATIENCE, "answers of g1")
                answers = len(reader.answers)
                wait_for(lambda: len(reader.answers) > answers + 20, 180, "answers after the last start")
            rest.at_ends(settings, PATIENCE)
        assert held.kills == 4
        assert reader.faults == []
        for name in ("g1", "g2"):
            told = [each for each in reader.answers if each["as_of"]["generation"] == name]
            assert told, f"none of {name}"
            expect_prefixes(settings, told, 6)
        expect_truth(rest, shop.truth)
        now = read_generations(settings)
        assert (now.live, now.before, now.running()) == (1, 2, [1, 2])
        rest.http.close()
    finally:
        held.close()

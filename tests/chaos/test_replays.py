"""A replay from its beginning to its removal while events flow and, at every stage, something dies: all is exact.

The code is unchanged, so each generation is the other's equal: each answer on the way, of metrics and of tables, counts
the records up to the offsets that it names, and some of each generation are computed again from these records; in the
end all is the ground truth's. What dies is a process of one of the two generations or a service, and the commands
themselves around their writes.
"""

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from infra.generation import source_bounds
from infra.generations import State, read_generations
from infra.runtime.platform import ROOT
from schemas.errors import Unavailable
from serving.generation_progress import read_progress
from tests.archive.kit import age_out, cuts
from tests.chaos.kit import PROVEN, VICTIMS, Killer, World, expect_prefixes, world
from tests.e2e.kit import Across, source_records
from tests.e2e.table_reader import TableReader
from tests.helpers import wait_for

WAYS = {
    "verdicts": ("--throttle", "4000"),
    "seam": ("--throttle", "4000"),  # of topics that have lost some of their beginning, which bronze has
    "lake-first": ("--throttle", "4000", "--lake-first"),
    "part": ("--throttle", "4000", "--metric", "revenue", "--table", "daily_sales"),
}
# What a refusal says that another moment brings about.
LATER = re.compile(r"records are missing|try again|to have caught up|to have been computed a second time")
BESIDE = ("live", "materializer", "lake", "verifier", "api")
PATIENCE = 900
# Two of everything: what plans or looks without a rest leaves nothing of two cores to the others.
EASY = {"live_trigger_seconds": 60, "lake_trigger_seconds": 5, "verify_seconds": 10}

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.chaos, pytest.mark.timeout(3_600)]


class Replaying:
    """The commands, and what dies between them."""

    def __init__(self, here: World, chance: random.Random) -> None:
        self.here, self.settings, self.chance = here, here.settings, chance
        self.killer = Killer(here.platform, chance)

    def command(self, *arguments: str, failpoint: str | None = None) -> dict:
        """What it tells; killed at `failpoint`, and given once more, if one is named.

        What is refused until something has caught up, since that has just died, is given again.
        """
        line = [sys.executable, "-m", "dataflow", "replay", *arguments, "--json"]
        # A failpoint kills once, and another command may be killed at the same one.
        (self.settings.state_dir / "failpoints" / str(failpoint)).unlink(missing_ok=True)
        for each in (failpoint, None) if failpoint else (None,):
            env = {
                **os.environ,
                **self.settings.replace(dataflow_failpoint=each).environ(),
                "PYTHONPATH": str(ROOT),
            }
            deadline = time.monotonic() + PATIENCE
            while True:
                done = subprocess.run(
                    line, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
                )
                if done.returncode <= 0 or time.monotonic() > deadline or not LATER.search(done.stderr):
                    break
                assert "may have been done" not in done.stderr, done.stderr
                time.sleep(5)  # what is waited for needs the processor
            if each is not None:
                assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def hurt(self, *names: str) -> None:
        """One of them that runs, or of all there are: SIGKILL, as soon as there is one to be killed."""
        killed = self.killer.total
        chosen = names or (*VICTIMS, "lake", "verifier", *(f"{name}@g2" for name in BESIDE))

        def killing() -> bool:
            there = {info.name for info in self.here.platform.supervisor.processes()}
            self.killer.victims = tuple(name for name in chosen if name in there)
            if running := self.killer.running():
                self.killer.kill(self.chance.choice(running))
            return self.killer.total > killed

        wait_for(killing, PATIENCE, f"the end of one of {', '.join(chosen)}")

    def can_be_promoted(self) -> bool:
        """Whether g2 has caught up, and is verified by its own verifier's last word. Not known where something died."""
        try:
            progress = read_progress(self.settings, read_generations(self.settings).of(2).generation)
        except Unavailable:
            return False
        found = progress.verified
        return (
            progress.behind < 1_000
            and found is not None
            and found.exact is True
            and found.whole_at is not None
        )

    def until(self, patience: float = PATIENCE) -> None:
        wait_for(self.can_be_promoted, patience, "g2, caught up and verified")


@pytest.mark.parametrize("way", WAYS)
def test_whatever_dies_during_a_replay_no_number_is_wrong(tmp_path, seed, way):
    chance = random.Random(f"{seed} {way}")
    with (
        world(tmp_path, seed, 200_000, PROVEN, **EASY) as here,
        Across(here.platform.url).asking() as reader,
        TableReader(here.platform.url).asking() as tables,
    ):
        work = Replaying(here, chance)
        here.shop.produce(8_000)
        here.rest.at_ends(here.settings)
        first = read_generations(here.settings).of(1).generation
        wait_for(lambda: read_progress(here.settings, first).lake_behind == 0, PATIENCE, "g1's lake")
        lost = source_records(here.settings)
        if way == "seam":
            seams = cuts(source_bounds(here.settings, first)[1], seed)
            age_out(here.settings, seams)
            spans = work.command("plan", *WAYS[way])["spans"]
            assert {(s["topic"], s["partition"]): s["seam"] for s in spans} == seams
            assert all(s["start"] == 0 for s in spans)
        with here.shop.flowing(50):
            if chance.random() < 0.5:
                work.command("run", "--yes", "--detach", *WAYS[way], failpoint="replay.before_record")
            else:
                work.command("run", "--yes", "--detach", *WAYS[way])
            wait_for(lambda: read_generations(here.settings).running() == [1, 2], 60, "g2")
            work.hurt()
            beside = [f"{name}@g2" for name in BESIDE]
            processes = here.platform.supervisor.processes
            wait_for(lambda: {each.name for each in processes()} >= set(beside), 60, "g2's processes")
            for victims in (["lake@g2"], ["materializer@g2"], ["valkey"], ["live@g2"]):
                wait_for(lambda: work.can_be_promoted() or chance.random() < 0.02, PATIENCE, "a moment")
                work.hurt(*victims)
            work.until()
            assert work.command("diff", "--patience", "300")["equal"]
            work.hurt("kafka", "registry", "verifier@g2")
            work.until()
            work.command("promote", "g2", failpoint="replay.before_switch")
            work.hurt("api@g2", "materializer@g2")
            # Of a lake that its API has not looked for yet, since it was started, there is no `as_of`.
            answered = here.rest.get
            wait_for(
                lambda: (answered("/v1/tables")["as_of"] or {}).get("generation") == "g2", 60, "g2 answers"
            )
            wait_for(lambda: "g2" in tables.generations(), 120, "tables of g2")
            work.hurt()
            work.command("rollback", "--leaving", "g2", "--patience", "400", failpoint="replay.before_switch")
            work.hurt("api", "materializer")
        here.settle(PATIENCE)
        [removed] = work.command("cancel", "g2", "--yes", failpoint="replay.after_keys")["removed"]
        assert removed["generation"] == "g2"
        here.settle(PATIENCE)
        now = read_generations(here.settings)
        for name, each in itertools.product(("g1", "g2"), (reader, tables)):
            answers = [answer for answer in each.answers if answer["as_of"]["generation"] == name]
            assert answers, f"none of {name}"
            expect_prefixes(here.settings, answers, 6, lost=lost)
    assert (now.live, now.known[2].state, now.running()) == (1, State.GONE, [1])
    assert reader.faults == tables.faults == []
    print(way, dict(work.killer.kills), f"{len(reader.answers):,} answers, {len(tables.answers):,} of tables")

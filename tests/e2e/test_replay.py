"""A metric's definition is changed while events flow: planned, replayed, compared, promoted, rolled back; all exact.

A reader asks all the time, processes are killed on the way. What it is answered is the metric of the generation that
the answer names, and covers no less than the answer before.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from infra.code import PACKAGES, ROOT
from infra.generations import State, read_generations
from infra.kafka import admin, identities
from infra.runtime.platform import ALL, Platform
from infra.settings import Settings
from serving.generation_progress import read_progress
from serving.store.keys import Keys
from serving.store.store import connect
from streams.lake.manifest import Manifest, newest_manifest
from streams.lake.place import lake_root
from tests.e2e.asking import Asking
from tests.e2e.kit import Rest, Shop, expect_truth
from tests.helpers import isolated_settings, wait_for

OLD = 'Count("orders", "Orders placed."),'
NEW = OLD + '\n        Sum("shipped", "total_amount", "Of shipped ones.", where="status = \'shipped\'"),'
PATIENCE = 600
NONE = Manifest(0, "", {}, {})

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.chaos, pytest.mark.timeout(2_400)]


class Edited:
    """A working copy in which somebody has changed something (default: the metric), and its command line."""

    def __init__(
        self, tree: Path, settings: Settings, file: str = "schemas/metrics.py", old: str = OLD, new: str = NEW
    ) -> None:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
        text = (tree / file).read_text("utf-8")
        assert text.count(old) == 1
        (tree / file).write_text(text.replace(old, new), "utf-8")
        self._env = {**os.environ, **settings.environ(), "PYTHONPATH": str(tree)}

    def replay(self, *arguments: str, status: int = 0) -> dict:
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "dataflow", "replay", *arguments]
        done = subprocess.run(
            line, env=self._env, cwd="/", capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done


class Shipped(Asking):
    """A reader of `revenue`, which g2 tells otherwise, that keeps which generations answered, in order."""

    def __init__(self, url: str) -> None:
        super().__init__(url, pause=0.02)
        self.answers, self.refused, self.generations = 0, 0, []
        self.broken: list[str] = []  # connections that somebody died under
        self._position = 0

    def look(self, http: httpx.Client) -> None:
        try:
            answer = http.get("/v1/metrics/revenue", params={"grain": "all"})
        except httpx.HTTPError as error:
            self.broken.append(repr(error))
            return
        if answer.status_code == 503:
            self.refused += 1
            return
        if answer.status_code != 200:
            self.faults.append(f"{answer.status_code}: {answer.text[:300]}")
            return
        document = answer.json()
        self.answers += 1
        generation, now = document["as_of"]["generation"], document["as_of"]["position"]
        if now < self._position:
            self.faults.append(f"from {self._position} back to {now} at {generation}")
        self._position = now
        if not self.generations or self.generations[-1] != generation:
            self.generations.append(generation)
        for row in document["rows"]:
            if ("shipped" in row) != (generation == "g2"):
                self.faults.append(f"{generation} answers with the figures {sorted(row)}")


# How g2 comes to be: by verdicts on all topics, out of a lake of its own, or out of the live one.
WAYS = {"verdicts": (), "lake-first": ("--lake-first",), "part": ("--metric", "revenue")}


@pytest.fixture
def running(tmp_path_factory):
    settings = isolated_settings(
        tmp_path_factory.mktemp("replay"),
        verify_seconds=10,
        kafka_partitions=2,
    )
    with Platform(settings, ALL, preferred_ports=False) as platform:
        yield platform


def is_verified(settings: Settings, number: int) -> bool:
    """Whether a generation has caught up, and its verifier's last word is that it is exact."""
    time.sleep(1)  # a look costs a little, and the machine has enough to do
    progress = read_progress(settings, read_generations(settings).of(number).generation)
    found = progress.verified
    return progress.behind < 500 and found is not None and found.exact is True and found.whole_at is not None


def killed(running: Platform, name: str) -> None:
    """SIGKILL, and it is back."""
    before = running.supervisor.process(name).restarts
    running.kill(name)
    wait_for(lambda: running.supervisor.process(name).restarts > before, 60, f"{name}'s restart")
    running.wait_ready(name, PATIENCE)


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_metric_is_replayed_compared_promoted_and_rolled_back_while_events_flow(
    running, tmp_path, way
):
    rest, settings = Rest(running.url), running.settings
    edited = Edited(tmp_path, settings)
    shop = Shop(settings, 200_000)
    shop.produce(3_000)
    rest.at_ends(settings)
    wait_for(lambda: (newest_manifest(lake_root(settings, "g1")) or NONE).number, PATIENCE, "g1's lake")
    with Shipped(running.url).asking() as reader:
        with shop.flowing(40):
            plan = edited.replay("plan", *WAYS[way])
            assert plan["changed"] == ["metric revenue"]
            assert plan["affects"]["metrics"] == ["revenue"]
            began = edited.replay("run", "--yes", "--detach", "--throttle", "2000", *WAYS[way])
            assert began["progress"]["generation"] == "g2"
            wait_for(lambda: read_generations(settings).running() == [1, 2], 30, "the record of g2")
            wait_for(
                lambda: any(p.name == "materializer@g2" for p in running.supervisor.processes()),
                60,
                "g2's processes",
            )
            killed(running, "materializer")  # the old code's, from its own copy
            killed(running, "materializer@g2")
            wait_for(lambda: is_verified(settings, 2), PATIENCE, "g2, caught up and verified")
            status = {each["generation"]: each for each in edited.replay("status")["generations"]}
            assert (status["g1"]["live"], status["g2"]["live"], status["g2"]["verified"]) == (
                True,
                False,
                True,
            )
        found = edited.replay("diff", "--patience", "200", status=1)
        different = [each for each in found["relations"] if not each["equal"]]
        assert {each["name"] for each in different} == {"revenue"}
        for each in different:
            assert each["declared"]["only_in_other"] == ["shipped"]
            assert {each["rows"][name] for name in ("only_one", "only_other", "changed")} == {0}
        assert (found["only_in_one"], found["only_in_other"]) == ([], [])

        with shop.flowing(40):
            assert edited.replay("promote", "g2") == {"live": "g2", "before": "g1"}
            wait_for(lambda: reader.generations == ["g1", "g2"], 60, "answers of g2")
            killed(running, "api@g2")
            killed(running, "live@g2")
        rest.at_ends(settings)
        expect_truth(rest, shop.truth, ("day", "all"))
        assert rest.get("/v1/tables")["as_of"]["generation"] == "g2"

        assert edited.replay("rollback", "--patience", "200") == {"live": "g1", "before": "g2"}
        wait_for(lambda: reader.generations == ["g1", "g2", "g1"], 60, "answers of g1")
        shop.produce(200)
        rest.at_ends(settings)
        expect_truth(rest, shop.truth, ("day", "all"))
        [removed] = edited.replay("cancel", "g2", "--yes")["removed"]
    assert reader.faults == []
    assert len(reader.broken) <= 1, "more than the one that was asked when api@g2 was killed"
    assert reader.answers > 200
    assert removed["keys"] > 10
    assert len(removed["topics"]) == 2
    # Nothing of it is left, and nothing that the live one needs is gone.
    now = read_generations(settings)
    assert (now.live, now.known[2].state, now.running()) == (1, State.GONE, [1])
    assert [p.name for p in running.supervisor.processes() if p.name.endswith("@g2")] == []
    redis = connect(settings)
    assert list(redis.scan_iter(match=f"{Keys.of(settings, 'g2').space}*", count=1_000)) == []
    redis.close()
    gone = [
        now.known[2].generation.judged_topic(settings),
        now.known[2].generation.dead_letter_topic(settings),
    ]
    assert identities(admin(settings.kafka_bootstrap_servers), gone) == {}
    rest.http.close()


# Fails at one record, wherever in the topics that is; what comes before it is done rightly.
FOLD = '        if "clickstream" in changes:\n'
BROKEN = (
    FOLD
    + '            if (changes["clickstream"].after["event_type"] == "purchase").any():\n'
    + '                raise KeyError("no price of a purchase")\n'
)


def test_code_that_fails_on_a_record_is_told_with_its_words_and_the_live_one_is_as_it_was(running, tmp_path):
    rest, settings = Rest(running.url), running.settings
    shop = Shop(settings, 200_000)
    shop.produce(3_000)
    rest.at_ends(settings)
    edited = Edited(tmp_path, settings, "streams/lake/gold/sales.py", FOLD, BROKEN)
    failed = edited.run("run", "--yes", "--throttle", "0", status=1)
    assert "lake@g2 failed" in failed.stderr
    assert "no price of a purchase" in failed.stderr
    assert "`dataflow replay cancel g2` removes" in failed.stderr
    assert "expected" in edited.run("promote", "g2", "--undiffed", "--unverified", status=1).stderr
    with shop.flowing(40):
        [removed] = edited.replay("cancel", "g2", "--yes")["removed"]
    assert len(removed["topics"]) == 2
    rest.at_ends(settings)
    expect_truth(rest, shop.truth, ("day", "all"))
    now = read_generations(settings)
    assert (now.live, now.running()) == (1, [1])
    assert [p.name for p in running.supervisor.processes() if p.name.endswith("@g2")] == []
    left = [path for path in settings.state_dir.rglob("*g2*") if not {"logs", "kafka"} & set(path.parts)]
    assert left == []
    rest.http.close()

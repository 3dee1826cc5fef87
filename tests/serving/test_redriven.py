"""Records that are put back, through a real live path: each counts once, and every offset has its one verdict still.

They were sent under a schema that was registered under another name first: refused, and right once that is mended.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from dataflow.testing import Live, Place, Raw, Stream
from infra.generation import current_generation
from infra.read_topic import read_topic
from infra.registry import Registry, subject
from infra.runtime.platform import ROOT
from schemas.errors import Unavailable
from serving.dead_letters import DeadLetter
from serving.dead_letters.redrive import BATCH, Redriver
from serving.dead_letters.scan import Wanted, read_letters
from tests.avro import encoded
from tests.bad_input.kit import with_field
from tests.helpers import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

MANY = BATCH + 60  # more than one transaction takes
TOPIC = "orders"
NEWER = with_field(TOPIC, "note", type=["null", "string"], default=None)


class Scene:
    """A live path with dead letters whose records will be right once their schema is registered where it belongs."""

    def __init__(self, live: Live) -> None:
        self.live, self.stream = live, live.stream
        self._registry = Registry(live.settings.kafka_schema_registry)
        self.schema_id = self._registry.register(f"{live.settings.topic_prefix}elsewhere-value", NEWER)

    def close(self) -> None:
        self._registry.close()

    def newer(self, event: Any) -> Raw:
        """An event's record under the schema."""
        key, _ = self.stream.codec.encode(TOPIC, event)
        return Raw(TOPIC, key, encoded(NEWER, self.schema_id, {**event, "note": "x"}))

    def many(self) -> list[Place]:
        """Produce many orders of one euro under the schema, and see them refused."""
        events = self.stream.events
        places = self.stream.produce_all(
            [self.newer(events(TOPIC, total_amount="1.00")) for _ in range(MANY)]
        )
        self.live.settled(240)
        return places

    def mended(self) -> None:
        """The schema is registered under the topic, and has the id that the records carry."""
        assert self._registry.register(subject(self.live.settings, TOPIC), NEWER) == self.schema_id

    def redrive(self, failpoint: str = "") -> subprocess.CompletedProcess[str]:
        """`dataflow dlq redrive`, as a process."""
        settings = self.live.settings.replace(dataflow_failpoint=failpoint or None)
        return subprocess.run(
            [sys.executable, "-m", "dataflow", "dlq", "redrive", "--json"],
            cwd=ROOT,
            env={**os.environ, **settings.environ()},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def redriven(self) -> dict[str, Any]:
        """What a re-drive that nobody kills says."""
        done = self.redrive()
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def letters(self) -> dict[Place, tuple[str, ...]]:
        return {letter.place: letter.reasons for letter in self.live.dead_letters()}

    def expect_exact(self) -> dict[str, int]:
        """Every offset of the source topics has exactly one verdict; returns how many of each kind there are."""
        self.live.settled(240)
        exactness = self.live.get("/v1/exactness")
        assert (exactness["exact"], exactness["held"]) == (True, {}), exactness
        offsets = self.live.get("/v1/status")["as_of"]["offsets"]
        assert sum(exactness["counts"].values()) == sum(
            end for places in offsets.values() for end in places.values()
        )
        return exactness["counts"]

    def records(self) -> Counter[bytes]:
        """Every committed record of the topic, how often each."""
        settings = self.live.settings
        name = settings.topic_prefix + TOPIC
        return Counter(m.value() for m in read_topic(settings.kafka_bootstrap_servers, name))


@pytest.fixture
def scene(stream: Stream, live: Live) -> Iterator[Scene]:
    assert live.stream is stream
    found = Scene(live)
    yield found
    found.close()


@pytest.mark.parametrize(
    "failpoint",
    [pytest.param("redrive.before_commit:2", marks=pytest.mark.longhaul), "redrive.after_commit:2"],
)
def test_each_counts_once_though_the_re_drive_and_the_live_path_are_killed_half_way(
    scene: Scene, failpoint: str
) -> None:
    live, stream = scene.live, scene.stream
    counted = stream.produce_all([(TOPIC, {"total_amount": "1.00"})] * 5)
    broken = stream.produce(TOPIC, total_amount="-1.00")
    places = scene.many()
    expected = dict.fromkeys(places, ("unknown_schema_id",)) | {broken: ("total_amount_minimum",)}
    assert scene.letters() == expected
    before = scene.expect_exact()
    assert (before["changed"], before["refused"]) == (len(counted), MANY + 1)

    scene.mended()
    killed = scene.redrive(failpoint)
    assert killed.returncode == -9, killed.stderr
    live.kill()
    live.start()
    done = scene.redriven()
    assert done["redriven"] == MANY - (BATCH if failpoint.startswith("redrive.before") else MANY)
    assert done["left"]["still_refused"] == 1

    after = scene.expect_exact()
    # The verdicts on the old records stand; what is back has verdicts of its own.
    assert (after["refused"], after["repeat"], after["superseded"]) == (MANY + 1, 0, 0)
    assert after["changed"] == len(counted) + MANY
    [row] = live.rows("revenue")
    assert (row["orders"], row["gross"]) == (5 + MANY, f"{5 + MANY}.00")
    assert scene.letters() == expected
    again = scene.redriven()
    assert (again["redriven"], again["left"]["already_redriven"]) == (0, MANY)
    assert scene.expect_exact() == after


@pytest.mark.cases(0)
def test_versions_decide_what_a_record_that_is_back_changes(scene: Scene) -> None:
    """It may come after a later version, or twice: then it changes nothing, and has a verdict all the same."""
    live, stream = scene.live, scene.stream
    events = stream.events
    overtaken, waiting = (stream.produce(TOPIC, total_amount="5.00") for _ in range(2))
    middle = events.change(overtaken.event, total_amount="7.00")
    stream.produce_all([scene.newer(middle), events.change(middle, total_amount="9.00")])
    stream.produce_all([scene.newer(events.change(waiting.event, total_amount="7.00"))] * 2)
    live.settled(240)
    assert live.rows("revenue")[0]["gross"] == "14.00"
    scene.mended()
    assert scene.redriven()["redriven"] == 3
    counts = scene.expect_exact()
    assert {n: counts[n] for n in ("changed", "superseded", "repeat", "refused")} == {
        "changed": 4,
        "superseded": 1,
        "repeat": 1,
        "refused": 3,
    }
    assert live.rows("revenue")[0]["gross"] == "16.00"


@pytest.mark.cases(0)
def test_of_two_re_drives_at_once_the_later_one_ends_the_other_and_no_record_is_back_twice(
    scene: Scene,
) -> None:
    settings = scene.live.settings
    scene.many()
    scene.mended()
    sent, read = scene.records(), Counter()

    def reading(*arguments: Any, **options: Any) -> Iterator[DeadLetter]:
        """A rival begins when the first batch is in, and the second one is about to be."""
        for letter in read_letters(*arguments, **options):
            read[begun] += 1
            if begun and read[begun] == BATCH + 30:
                rival.run(rivals)
            yield letter

    begun = False
    with Redriver(settings, reading) as redriver, Redriver(settings) as rival:
        assert redriver.topics.generation == rival.topics.generation == current_generation(settings).name
        plan, rivals = redriver.plan(Wanted()), rival.plan(Wanted())
        assert len(plan.ready) == len(rivals.ready) == MANY
        begun = True
        with pytest.raises(Unavailable, match="Another re-drive that was started meanwhile ends this one"):
            redriver.run(plan)
    assert (plan.redriven, rivals.redriven) == (BATCH, MANY - BATCH)
    twice = Counter({value: 2 * n for value, n in sent.items()})
    wait_for(lambda: scene.records() == twice, 30, "each record once more")
    counts = scene.expect_exact()
    assert (counts["changed"], counts["refused"], counts["repeat"]) == (MANY, MANY, 0)
    assert scene.redriven()["redriven"] == 0

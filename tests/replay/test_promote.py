"""A promote goes through every guard, one after the other, and a rollback waits for what it needs: on real records.

The generation's processes are stood in for by what they leave: a lake, fences, and what the verifier found.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from infra.bootstrap import bootstrap
from infra.code import here
from infra.generation import source_bounds
from infra.generations import Generation, State, change_generations, read_generations
from infra.kafka import admin, ensure_topics
from infra.runtime.birth import birth
from infra.runtime.run_state import IN_VAIN, Run, write_run
from infra.settings import Settings
from replay import switch
from replay.differences import Kept, keep_difference
from replay.errors import ReplayError
from replay.guards import Guards
from replay.planning import plan_replay
from replay.run import run_plan
from replay.switch import promote, rollback
from schemas.errors import GenerationError
from schemas.topics import TOPICS
from serving.lake.live import live_lake
from serving.store.keys import Keys, place
from serving.store.store import connect
from serving.verified import Found, verified_key
from streams.lake.place import lake_root
from tests.e2e.kit import Shop
from tests.helpers import wait_for
from tests.serving.lake_kit import SmallLake

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Two:
    """The live g1 and a replay g2 over the same records."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.replace(kafka_partitions=1)
        bootstrap(self.settings)
        change_generations(self.settings, lambda _: {"g1/code": here(self.settings).as_json()})
        Shop(self.settings, 1_000).produce(60)
        self.second = run_plan(self.settings, plan_replay(self.settings, here(self.settings)))
        self.redis = connect(self.settings)
        self.lakes = {
            name: SmallLake(lake_root(self.settings, name), self.settings, name) for name in ("g1", "g2")
        }

    def close(self) -> None:
        for lake in self.lakes.values():
            lake.close()
        self.redis.close()

    def count(self, *, all_but: int = 0) -> None:
        """As the materializer of g2 leaves the fences."""
        ends = source_bounds(self.settings, self.second)[1]
        fences = {place(*at): end for at, end in ends.items()}
        fences[place("orders", 0)] -= all_but
        self.redis.hset(Keys.of(self.settings, "g2").fence, mapping=fences)

    def judge(self, generation: Generation) -> None:
        """As its live job: some verdict."""
        producer = Producer({"bootstrap.servers": self.settings.kafka_bootstrap_servers})
        producer.produce(generation.judged_topic(self.settings), b"{}")
        assert producer.flush(30) == 0

    def counts_as_second(self) -> None:
        """g1 has counted what g2 has."""
        one, two = (Keys.of(self.settings, name).fence for name in ("g1", "g2"))
        self.redis.hset(one, mapping=self.redis.hgetall(two))

    def verified(self, exact: bool, generation: str = "g2", **more: object) -> None:
        now = time.time()
        found = Found(exact, now, live=True, whole_at=now if exact else None, **more)
        self.redis.set(verified_key(self.settings, generation), found.to_json())

    def compared(self, **metrics: float) -> None:
        shares = {f"metric {name}": share for name, share in metrics.items()}
        keep_difference(self.settings, Kept(1, 2, time.time(), shares))

    def live(self) -> int | None:
        return read_generations(self.settings).live

    @contextmanager
    def refused(self, why: str) -> Iterator[None]:
        """The promote, and nothing has changed after it."""
        yield
        with pytest.raises(ReplayError, match=why):
            promote(self.settings, 2, Guards())
        assert self.live() == 1


@pytest.fixture
def two(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    monkeypatch.setattr(switch, "FOLLOWS_WITHIN", 0.0)
    made = Two(settings)
    yield made
    made.close()


def test_each_guard_is_asked_and_then_it_is_live_and_goes_back(two: Two) -> None:
    with two.refused(r"g2 to have caught up"):
        pass
    with two.refused(r"computed a second time .* has not finished a round"):
        two.lakes["g2"].write({"orders": []}, position=40)
        two.count(all_but=3)
    with two.refused(r"second computation differs in orders: do not promote"):
        two.verified(False, differences=[{"table": "orders"}])
    with two.refused(r"looked at the difference"):
        two.verified(True)
    with two.refused(r"only where the plan has changes \(nowhere\).*some in metric revenue"):
        two.compared(revenue=0.01)
    with two.refused(r"live job of g2 to have given verdicts"):
        two.compared()
    with two.refused(r"3 records are missing"):
        two.judge(two.second)
    with two.refused(r"lake of g2 to have come to where the live one is, and 2 records"):
        two.count()
        two.lakes["g1"].write({"orders": []}, position=42)
    two.lakes["g2"].write({"orders": []}, position=2)
    lake, manifest = live_lake(two.settings)
    assert (lake.root, manifest.generation) == (lake_root(two.settings, "g1"), "g1")
    promote(two.settings, 2, Guards())
    assert two.live() == 2
    lake, manifest = live_lake(two.settings)
    assert (lake.root, manifest.generation) == (lake_root(two.settings, "g2"), "g2")
    two.lakes["g2"].write({"orders": []}, position=5)
    two.counts_as_second()
    with pytest.raises(ReplayError, match=r"(live job of g1 to have given verdicts|lake of g1 to have come)"):
        rollback(two.settings, 0.0)
    assert two.live() == 2


@pytest.mark.cases(0)
def test_who_pauses_the_old_one_goes_back_when_that_has_caught_up(two: Two) -> None:
    for lake in two.lakes.values():
        lake.write({"orders": []}, position=40)
    two.count()
    two.judge(two.second)
    two.verified(True)
    two.compared()
    promote(two.settings, 2, Guards(), pause_old=True)
    now = read_generations(two.settings)
    assert (now.live, now.known[1].state) == (2, State.PAUSED)
    told = []
    with pytest.raises(ReplayError, match="g1"):
        rollback(two.settings, 0.0, told=told.append)
    # It goes on meanwhile, and how far it is was told.
    assert read_generations(two.settings).known[1].state is State.RUNNING
    assert told[-1].generation == "g1"
    assert told[-1].numbers_behind > 0
    two.judge(read_generations(two.settings).of(1).generation)
    two.counts_as_second()
    rollback(two.settings, 5.0)
    assert two.live() == 1


def test_nobody_goes_back_to_what_is_known_to_be_wrong_by_accident(two: Two) -> None:
    for lake in two.lakes.values():
        lake.write({"orders": []}, position=40)
    two.count()
    two.counts_as_second()
    for generation in (two.second, read_generations(two.settings).of(1).generation):
        two.judge(generation)
    switch.switch(two.settings, 1, 2, False)
    two.verified(False, "g1", differences=[{"table": "orders"}])
    with pytest.raises(ReplayError, match=r"g1 to have been exact.* differs in orders.*--although-wrong"):
        rollback(two.settings, 5.0)
    assert two.live() == 2
    rollback(two.settings, 5.0, although_wrong=True)
    assert two.live() == 1


def test_nobody_goes_back_to_what_cannot_go_on(two: Two) -> None:
    """The topics may be quiet, so that nothing seems to be missing."""
    settings = two.settings
    for lake in two.lakes.values():
        lake.write({"orders": []}, position=40)
    two.count()
    two.counts_as_second()
    for generation in (two.second, read_generations(settings).of(1).generation):
        two.judge(generation)
    switch.switch(settings, 1, 2, False)
    row = {"name": "live@g1", "pid": None, "birth": None, "port": None, "restarts": 3, "since": 0.0}

    def running(state: str, verifier: str = "ready") -> None:
        rows = [
            {**row, "state": state, "failures": IN_VAIN},
            {**row, "name": "verifier@g1", "state": verifier},
        ]
        write_run(settings.state_dir, Run("r", os.getpid(), birth(), "test", 0.0, None, {}, rows, serves=2))

    running("failed")
    with pytest.raises(ReplayError, match=r"processes of g1 to run, and live@g1 failed"):
        rollback(settings, 600.0)
    # What begins again may come, and what checks counts nothing.
    running("backoff", "failed")
    assert rollback(settings, 5.0).live == 1
    running("ready")
    switch.switch(settings, 1, 2, False)
    client, orders = admin(settings.kafka_bootstrap_servers), settings.topic_prefix + "orders"
    client.delete_topics([orders])[orders].result(30)
    wait_for(lambda: orders not in client.list_topics(timeout=10).topics, 30, "the end of a topic")
    with pytest.raises(GenerationError, match="source topic orders is gone"):
        rollback(settings, 600.0)
    ensure_topics(client, {orders: TOPICS["orders"]}, 1, 1)
    wait_for(lambda: orders in client.list_topics(timeout=10).topics, 30, "the topic, again")
    with pytest.raises(GenerationError, match="orders was deleted and created again"):
        rollback(settings, 600.0)
    assert two.live() == 2


@pytest.mark.cases(0)
def test_what_no_rollback_goes_back_to_any_more_stands_still(two: Two) -> None:
    """It would follow for nobody, and be in the way of the next replay."""
    switch.switch(two.settings, 1, 2, False)
    run_plan(two.settings, plan_replay(two.settings, here(two.settings)))

    def states() -> dict[int, State]:
        return {number: each.state for number, each in read_generations(two.settings).known.items()}

    assert states() == dict.fromkeys((1, 2, 3), State.RUNNING)
    switch.switch(two.settings, 2, 3, False)
    assert states() == {1: State.PAUSED, 2: State.RUNNING, 3: State.RUNNING}
    # There and back again both may go on.
    switch.switch(two.settings, 3, 2, False)
    switch.switch(two.settings, 2, 3, False)
    assert states() == {1: State.PAUSED, 2: State.RUNNING, 3: State.RUNNING}
    assert plan_replay(two.settings, here(two.settings)).number == 4

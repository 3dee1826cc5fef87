"""Everything that may happen, in random order, for as long as it is told: the numbers are exact at every look.

A shop with all dials up produces (so there are duplicates, late, damaged and rule-breaking records), schemas evolve,
processes are killed, hung or killed together, Redis is emptied. DATAFLOW_MACHINE_SECONDS sets how long (default 10),
CHAOS_SEED what happens. A run of more than a minute has the lake and the verifier too, among those that are hurt: at
every look lake and live numbers are computed a second time.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta

import pytest
from redis import Redis, RedisError

from infra.registry import Registry, subject
from infra.runtime.child import group_members, signal_group
from infra.runtime.platform import LIVE, SERVICES
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from sources.codec import HEADER, MAGIC
from sources.generator.emission import Intent
from tests.chaos.evolving import CHANGES, encoded, next_version
from tests.chaos.kit import PROVEN, Killer, World, world
from tests.e2e.kit import SPAN
from tests.helpers import wait_for

SECONDS = float(os.environ.get("DATAFLOW_MACHINE_SECONDS", "10"))
# The lake costs two more Spark starts of seconds, and each look a second computation.
PROVEN_SECONDS = 60
LONGEST_HANG = 4.0
# Of a topic, beyond the contract's. Each is planned for at every start of the live job, which takes longer with it;
# after that producers of all versions go on side by side.
MOST_VERSIONS = 3
# Records that are no good whatever they are written with; how many good ones a change of their schema is tried on, of
# a topic that had as many among so many of late.
BAD = (Intent.MALFORMED, Intent.RULE_BREAKING)
EVOLVED, LATELY = 5, 5_000
LONG_SPAN = timedelta(days=30)  # so that parcels arrive, and are reviewed, in the part that an hour comes to
STEPS = {"kill", "kill some", "hang", "flush", "restart", "produce", "evolve", "check"}
EVOLUTIONS = {f"evolve: {kind}" for kind in CHANGES}
FAST = {"lake_trigger_seconds": 1, "verify_seconds": 5}

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(int(SECONDS * 4) + 900)]


class Machine:
    """The steps, and what is known of the world between them."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world, self.chance = world, chance
        self.killer = Killer(world.platform, chance, world.victims)
        self.done: Counter[str] = Counter()
        self.versions = {topic: [json.loads(each.avro_json)] for topic, each in CONTRACTS.items()}

    def flow(self) -> None:
        """Events flow while one to three things happen to the processes."""
        hurts = (self.kill, self.kill, self.kill_some, self.hang, self.flush, self.stop_start)
        self.suffer(self.chance.choices(hurts, k=self.chance.randint(1, 3)))

    def begin(self) -> None:
        """Each thing that may happen, once."""
        self.evolve()
        self.produce()
        hurts = [self.kill, self.kill_some, self.hang, self.flush, self.stop_start]
        self.suffer(self.chance.sample(hurts, len(hurts)))

    def suffer(self, hurts: Sequence[Callable[[], None]]) -> None:
        with self.world.shop.flowing(self.chance.choice((50, 200, 400))):
            for hurt in hurts:
                time.sleep(self.chance.uniform(0.1, 3))  # the moment is the random part
                hurt()

    def kill(self) -> None:
        self.really_kill(lambda running: 1)
        self.note("kill")

    def kill_some(self) -> None:
        self.really_kill(lambda running: self.chance.randint(1, len(running)))
        self.note("kill some")

    def really_kill(self, how_many: Callable[[Sequence[str]], int]) -> None:
        """So many of those that run; who ends before it is hit is no kill."""
        before = self.killer.total
        while self.killer.total == before:
            running = wait_for(self.killer.running, 60, "something that runs")
            self.killer.kill(*self.chance.sample(running, how_many(running)))

    def hang(self) -> None:
        group = wait_for(self.somebody, 60, "something that runs")
        signal_group(group, signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.2, LONGEST_HANG))
        signal_group(group, signal.SIGCONT)
        self.note("hang")

    def somebody(self) -> int | None:
        """The process group of one that runs."""
        running = self.killer.running()
        found = running and self.world.platform.supervisor.process(self.chance.choice(running)).pid
        return found if found and group_members(found) else None

    def flush(self) -> None:
        wait_for(self.flushed, 60, "a Redis that can be emptied")
        self.note("flush")

    def flushed(self) -> bool:
        """Whether it is empty now; it may be restarted just then, or still load what it kept."""
        settings = self.world.settings
        try:
            with Redis(settings.redis_host, settings.redis_port, retry=None) as redis:
                return redis.flushall()
        except (OSError, RedisError):
            return False

    def stop_start(self) -> None:
        name = self.chance.choice([name for name in self.world.victims if name not in SERVICES])
        self.world.platform.stop_process(name)
        time.sleep(self.chance.uniform(0, 2))
        self.world.platform.start_process(name)
        self.note("restart")

    def produce(self) -> None:
        self.world.shop.produce(self.chance.randrange(1, 1_500))
        self.note("produce")

    def evolve(self) -> None:
        """A topic's schema changes once more, or enough; its next records are written with one of its versions."""
        lately = Counter(each.topic for each in self.world.shop.produced[-LATELY:] if each.intent not in BAD)
        topic = self.chance.choice(sorted(name for name, records in lately.items() if records >= 4 * EVOLVED))
        versions = self.versions[topic]
        if len(versions) <= MOST_VERSIONS:
            had = {kind for kind in CHANGES if self.done[f"evolve: {kind}"]}
            kind, schema = next_version(topic, versions[-1], len(versions), self.chance, had)
            versions.append(schema)
        else:
            kind, schema = "an older one", self.chance.choice(versions[1:])
        registered = wait_for(lambda: self.registered(topic, schema), 120, "a registry that takes the schema")
        header, written, taken = HEADER.pack(MAGIC, registered), 0, 0
        with self.world.shop.producer() as producer:
            while written < EVOLVED:
                taken += 200
                assert taken <= 2 * LATELY, f"of {taken} records only {written} were good ones of {topic}"
                for emission in self.world.shop.take(200):
                    value = emission.value
                    if emission.topic == topic and emission.intent not in BAD:
                        value = header + encoded(schema, emission.event)
                        written += 1
                    producer.produce_raw(emission.topic, emission.key, value)
        self.note("evolve")
        self.note(f"evolve: {kind}")

    def registered(self, topic: str, schema: dict) -> int | None:
        """The schema's id; None while the registry, which may just have been killed, does not answer."""
        registry = Registry(self.world.settings.kafka_schema_registry)
        try:
            return registry.register(subject(self.world.settings, topic), schema)
        except Unavailable:
            return None
        finally:
            registry.close()

    def check(self) -> None:
        # In a long run there are more records, and more processes that begin anew side by side.
        self.world.settle(max(240, SECONDS / 4))
        self.note("check")

    def note(self, step: str) -> None:
        """It has happened."""
        self.done[step] += 1
        print(f"{time.strftime('%H:%M:%S')} {step}", flush=True)


def test_whatever_happens_in_whatever_order_the_numbers_are_exact(tmp_path, seed):
    chance, records, proven = random.Random(seed), max(40_000, int(SECONDS * 400)), SECONDS > PROVEN_SECONDS
    with ExitStack() as stack:
        processes, span = (PROVEN, LONG_SPAN) if proven else (LIVE, SPAN)
        here = stack.enter_context(world(tmp_path, seed, records, processes, span, **FAST))
        reader = stack.enter_context(here.watched())
        if proven:
            stack.enter_context(here.proven())
        machine = Machine(here, chance)
        deadline = time.monotonic() + SECONDS
        machine.begin()
        while time.monotonic() < deadline:
            steps = (machine.flow, machine.flow, machine.flow, machine.produce, machine.evolve, machine.check)
            chance.choice(steps)()
        machine.check()
        wanted = STEPS | EVOLUTIONS if proven else STEPS
        assert not wanted - machine.done.keys(), f"of {wanted} only {set(machine.done)} happened"
        topics = {emission.topic for emission in here.shop.produced if emission.intent not in BAD}
        assert not proven or topics == set(CONTRACTS), f"of {set(CONTRACTS)} only {topics} had records"
        odd = set(Intent) - {emission.intent for emission in here.shop.produced}
        assert not odd, f"none of {odd} was produced"
        if proven:
            here.verifier_agrees(timeout=600 + SECONDS)
        print(dict(machine.done), dict(machine.killer.kills), f"{len(reader.answers):,} answers")

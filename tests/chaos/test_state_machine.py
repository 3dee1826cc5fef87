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

import pytest
from redis import Redis, RedisError

from infra.registry import Registry, subject
from infra.runtime.child import signal_group
from infra.runtime.platform import LIVE, SERVICES
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from sources.codec import HEADER, MAGIC
from sources.generator.emission import Intent
from tests.chaos.evolving import CHANGES, encoded, next_version
from tests.chaos.kit import PROVEN, Killer, World, world
from tests.helpers import wait_for

SECONDS = float(os.environ.get("DATAFLOW_MACHINE_SECONDS", "10"))
# The lake costs two more Spark starts of seconds, and each look a second computation.
PROVEN_SECONDS = 60
LONGEST_HANG = 4.0
# Of a topic, beyond the contract's. Each is planned for at every start of the live job, which takes longer with it;
# after that producers of all versions go on side by side.
MOST_VERSIONS = 3
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
        running = wait_for(self.killer.running, 60, "something that runs")
        self.note("kill")
        self.killer.kill(self.chance.choice(running))

    def kill_some(self) -> None:
        running = self.killer.running()
        self.note("kill some")
        self.killer.kill(*self.chance.sample(running, self.chance.randint(0, len(running))))

    def hang(self) -> None:
        name = self.chance.choice(wait_for(self.killer.running, 60, "something that runs"))
        self.note("hang")
        if (group := self.world.platform.supervisor.process(name).pid) is None:
            return  # it has just ended
        signal_group(group, signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.2, LONGEST_HANG))
        signal_group(group, signal.SIGCONT)

    def flush(self) -> None:
        self.note("flush")
        settings = self.world.settings
        try:
            with Redis(settings.redis_host, settings.redis_port, retry=None) as redis:
                redis.flushall()
        except (OSError, RedisError):
            pass  # it is being restarted, or still loads what it kept

    def stop_start(self) -> None:
        name = self.chance.choice([name for name in self.world.victims if name not in SERVICES])
        self.note("restart")
        self.world.platform.stop_process(name)
        time.sleep(self.chance.uniform(0, 2))
        self.world.platform.start_process(name)

    def produce(self) -> None:
        self.note("produce")
        self.world.shop.produce(self.chance.randrange(1, 1_500))

    def evolve(self) -> None:
        """A topic's schema changes once more, or enough; its next records are written with one of its versions."""
        topic = self.chance.choice(sorted(CONTRACTS))
        versions = self.versions[topic]
        if len(versions) <= MOST_VERSIONS:
            had = {kind for kind in CHANGES if self.done[f"evolve: {kind}"]}
            kind, schema = next_version(topic, versions[-1], len(versions), self.chance, had)
            versions.append(schema)
        else:
            kind, schema = "an older one", self.chance.choice(versions[1:])
        self.note("evolve")
        self.note(f"evolve: {kind}")
        registered = wait_for(lambda: self.registered(topic, schema), 120, "a registry that takes the schema")
        header = HEADER.pack(MAGIC, registered)
        with self.world.shop.producer() as producer:
            for emission in self.world.shop.take(200):
                value = emission.value
                if emission.topic == topic and emission.intent not in (
                    Intent.MALFORMED,
                    Intent.RULE_BREAKING,
                ):
                    value = header + encoded(schema, emission.event)
                producer.produce_raw(emission.topic, emission.key, value)

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
        self.note("check")
        # In a long run there are more records, and more processes that begin anew side by side.
        self.world.settle(max(240, SECONDS / 4))

    def note(self, step: str) -> None:
        self.done[step] += 1
        print(f"{time.strftime('%H:%M:%S')} {step}", flush=True)


def test_whatever_happens_in_whatever_order_the_numbers_are_exact(tmp_path, seed):
    chance, records, proven = random.Random(seed), max(40_000, int(SECONDS * 400)), SECONDS > PROVEN_SECONDS
    with ExitStack() as stack:
        here = stack.enter_context(world(tmp_path, seed, records, PROVEN if proven else LIVE, **FAST))
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
        assert machine.killer.total > 0, "nothing was killed"
        odd = set(Intent) - {emission.intent for emission in here.shop.produced}
        assert not odd, f"none of {odd} was produced"
        if proven:
            here.verifier_agrees(timeout=600 + SECONDS)
        print(dict(machine.done), dict(machine.killer.kills), f"{len(reader.answers):,} answers")

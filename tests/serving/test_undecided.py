"""Records that the live job leaves undecided, in a real live path: they wait for the registry, and others do not.

The live job here looks at the registry only when it is told to, as a Spark query does that has been started.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Message

from dataflow.testing import Environment, Events, Live, Place, Services, wait_for
from dataflow.testing.judge import Verdict
from dataflow.testing.plain_live import PlainLive
from infra.kafka import Offsets
from infra.registry import Registry, subject
from tests.bad_input.kit import Maker, with_field
from tests.gate import Gate, gate_to

NOBODYS_ID = 2_000_000_123


class Query(PlainLive):
    """Judges by the schemas of the moment when it was started."""

    def verdict(self, message: Message) -> Verdict:
        topic, _ = self._place(message)
        return self._judge.verdict(message, topic)

    def heard(self) -> Offsets | None:
        """If it is asked to judge again: do, with the schemas of now. Returns from where."""
        wanted = self.repeat_requested(0.2)
        if wanted is not None:
            self._learn()
            self.judge(wanted)
        return wanted


class Scene:
    """A live path whose materializer and API go through `gate` to the registry, and whose live job is `query`."""

    def __init__(self, environment: Environment, live: Live, gate: Gate, query: Query) -> None:
        self.environment, self.live, self.gate, self.query = environment, live, gate, query
        self.maker = Maker(live.stream.codec, live.stream.events)
        self.note = with_field("reviews", "note", type=["null", "string"], default=None)

    def registered(self) -> int:
        """The id of one more schema of reviews."""
        registry = Registry(self.environment.settings.kafka_schema_registry)
        try:
            return registry.register(subject(self.live.settings, "reviews"), self.note)
        finally:
            registry.close()

    def new(self, schema_id: int) -> Place:
        """Produce a review under that schema."""
        return self.live.stream.produce_all([self.maker.odd("reviews", schema_id, self.note, note=b"x")])[0]

    def nobodys(self) -> Place:
        """Produce an order under a schema that is registered nowhere."""
        return self.live.stream.produce_all([self.maker.framed("orders", NOBODYS_ID)])[0]

    def held(self) -> dict[str, str]:
        """Why which partitions wait, as `/v1/exactness` tells it."""
        return self.live.get("/v1/exactness")["held"]

    def clicks(self) -> int:
        return sum(row["events"] for row in self.live.rows("clicks"))

    def counts(self) -> dict[str, int]:
        return {
            name: n for name, n in self.live.get("/v1/exactness")["counts"].items() if n and name != "empty"
        }


@contextmanager
def scene_in(environment: Environment, gate: Gate) -> Iterator[Scene]:
    with Live(environment, environment.stream(Events())) as live:
        live.jobs["live"].kill()
        query = Query(environment.settings, environment.generation)
        try:
            yield Scene(environment, live, gate, query)
        finally:
            query.close()


@pytest.fixture
def scene(dataflow_services: Services, tmp_path: Path) -> Iterator[Scene]:
    registry = dataflow_services.settings.kafka_schema_registry
    with (
        gate_to(registry) as gate,
        dataflow_services.environment(tmp_path, "undecided", kafka_schema_registry=gate.url) as environment,
        scene_in(environment, gate) as found,
    ):
        yield found


def test_a_record_whose_schema_is_listed_waits_until_it_is_judged_by_it(scene: Scene) -> None:
    stream, query = scene.live.stream, scene.query
    waiting = scene.new(scene.registered())
    stream.produce_all([("reviews", {})] * 4 + [("clickstream", {})] * 3)
    query.judge()
    held = wait_for(scene.held, 60, "a partition that is held")
    [(at, why)] = held.items()
    assert at == f"reviews/{waiting.partition}"
    assert "which the live job has yet to learn" in why
    assert scene.live.dead_letters() == []
    wait_for(lambda: scene.clicks() == 3, 60, "what needs no registry")

    wanted = wait_for(query.heard, 60, "a request to judge again")
    assert wanted["reviews", waiting.partition] == waiting.offset
    scene.live.settled()
    assert (scene.held(), scene.live.dead_letters()) == ({}, [])
    assert scene.counts() == {"changed": 8}
    assert scene.live.get("/v1/exactness")["exact"] is True


@pytest.mark.slow
@pytest.mark.cases(0)
def test_while_the_registry_says_nothing_both_wait_and_then_each_gets_its_due(scene: Scene) -> None:
    """Refused is what nobody knows, by its letter; what is listed is counted. The rest goes on meanwhile."""
    stream, query = scene.live.stream, scene.query
    schema_id = scene.registered()
    scene.gate.close()
    listed, unknown = scene.new(schema_id), scene.nobodys()
    stream.produce_all([("clickstream", {})] * 3)
    query.judge()
    places = {f"{each.topic}/{each.partition}" for each in (listed, unknown)}
    wait_for(lambda: scene.held().keys() == places, 60, "two partitions that are held")
    assert all("nobody says whether there is one" in why for why in scene.held().values())
    stream.produce_all([("clickstream", {})] * 2)
    query.judge()
    wait_for(lambda: scene.clicks() == 5, 60, "what needs no registry")
    assert scene.live.dead_letters() == []
    assert scene.counts() == {"changed": 5}

    scene.gate.open()
    wait_for(lambda: query.heard() is None and not scene.held(), 120, "an end of the waiting")
    scene.live.settled()
    [letter] = scene.live.dead_letters()
    assert (letter.place, letter.reasons) == (unknown, ("unknown_schema_id",))
    assert scene.counts() == {"changed": 6, "refused": 1}
    assert scene.live.get("/v1/exactness")["exact"] is True

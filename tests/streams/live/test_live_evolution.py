"""Schemas that change while events flow: the live job learns them by itself, and no record is lost or misread.

One running job is put through every kind of change that the registry allows, one after the other.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from dataflow.testing import Environment, Judge, Live, Place, Raw
from dataflow.testing.judge import Verdict
from infra.read_topic import read_topic
from infra.registry import Registry, subject
from schemas.contract import CONTRACTS
from sources.codec import HEADER, MAGIC
from tests.avro import encoded

pytestmark = [pytest.mark.longhaul, pytest.mark.slow, pytest.mark.timeout(1_200)]

NOBODYS_ID = 2_000_000_123
EACH = 20  # records of a kind between two changes
UNKNOWN, MISFIT = ("unknown_schema_id",), ("does_not_fit_contract",)
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A new version of a topic's newest schema: `specs` by the names of the fields that they replace or add.

    `write` makes the record's body out of an event; `misfits` are values by which the contract cannot read one.
    """

    name: str
    topic: str
    specs: Mapping[str, Mapping[str, Any]]
    write: Callable[[Event], Event] = dict
    misfits: Mapping[str, Any] = field(default_factory=dict)

    def after(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        fields = {spec["name"]: spec for spec in schema["fields"]}
        for name, spec in self.specs.items():
            fields[name] = {**fields.get(name, {"name": name}), **spec}
        return {**schema, "fields": list(fields.values())}


CHANGES = (
    Change(
        "a field added",
        "clickstream",
        {"screen_width": {"type": ["null", "int"], "default": None}},
        lambda event: {**event, "screen_width": 1_280},
    ),
    Change("given a default", "payments", {"amount": {"default": "\u0001"}}),
    Change(
        "widened", "order_items", {"quantity": {"type": "long", "default": 1}}, misfits={"quantity": 2**31}
    ),
    Change(
        "made optional",
        "reviews",
        {"rating": {"type": ["null", "int"], "default": None}},
        misfits={"rating": None},
    ),
    Change(
        "renamed by alias",
        "order_items",
        {"quantity": {"name": "pieces", "aliases": ["quantity"]}},
        lambda event: {**event, "pieces": event["quantity"]},
        misfits={"pieces": -(2**31) - 1},
    ),
)


class Told:
    """What was produced, and what has to be said of it: by place, the event, or the reasons of its refusal."""

    def __init__(self, live: Live, judge: Judge) -> None:
        self.stream, self._judge = live.stream, judge
        self.of_new_schemas: set[Place] = set()
        self.events: dict[Place, Event] = {}
        self.reasons: dict[Place, tuple[str, ...]] = {}

    def produce(self, evolved: list[tuple[Change, dict[str, Any], int]], nobodys_id: int) -> None:
        """Records of every topic's own schema, of all `evolved` ones, and of one that is registered nowhere; mixed."""
        events, codec, made = self.stream.events, self.stream.codec, []
        for _ in range(EACH):
            for topic in CONTRACTS:
                event = events(topic)
                key, value = codec.encode(topic, event)
                made.append((Raw(topic, key, value), event, (), False))
            for change, schema, schema_id in evolved:
                event = events(change.topic)
                key, value = codec.encode(change.topic, event)
                body = change.write(event)
                made.append((Raw(change.topic, key, encoded(schema, schema_id, body)), event, (), True))
                stranger = HEADER.pack(MAGIC, nobodys_id) + value[HEADER.size :]
                made.append((Raw(change.topic, key, stranger), event, UNKNOWN, False))
                if change.misfits:
                    misfit = encoded(schema, schema_id, {**body, **change.misfits})
                    made.append((Raw(change.topic, key, misfit), event, MISFIT, True))
        places = self.stream.produce_all(raw for raw, *_ in made)
        for place, (_, event, reasons, is_new) in zip(places, made, strict=True):
            if reasons:
                self.reasons[place] = reasons
            else:
                self.events[place] = self._judge(place.topic, event).event
            if is_new:
                self.of_new_schemas.add(place)


def said_of(environment: Environment) -> dict[Place, list[Verdict]]:
    """Every verdict on the judged topic, by place, as they came."""
    settings, found = environment.settings, defaultdict(list)
    judged = environment.generation.judged_topic(settings)
    for message in read_topic(settings.kafka_bootstrap_servers, judged):
        if not message.headers():
            verdict = Verdict.of(json.loads(message.value()))
            found[Place(verdict.topic, verdict.partition, verdict.offset)].append(verdict)
    return found


@pytest.mark.dataflow(live="spark")
def test_every_kind_of_change_while_it_runs_and_a_record_waits_undecided_for_its_schema(
    live: Live, dataflow_env: Environment, judge: Judge
) -> None:
    live.stream.events.clock.set(datetime.now(UTC))
    registry, told, evolved, gaps = Registry(live.settings.kafka_schema_registry), Told(live, judge), [], {}
    schemas = {topic: json.loads(contract.avro_json) for topic, contract in CONTRACTS.items()}
    running = {name: job.pid for name, job in live.jobs.items()}
    told.produce(evolved, NOBODYS_ID)
    live.settled(240)
    for turn, change in enumerate(CHANGES):
        schema = schemas[change.topic] = change.after(schemas[change.topic])
        schema_id = registry.register(subject(live.settings, change.topic), schema)
        assert schema_id not in {known for _, _, known in evolved} | set(dataflow_env.schema_ids.values())
        evolved.append((change, schema, schema_id))
        began = time.monotonic()
        told.produce(evolved, NOBODYS_ID + turn)
        live.settled(240)
        gaps[change.name] = time.monotonic() - began
    registry.close()
    print("settled after " + ", ".join(f"{gap:.1f} s ({name})" for name, gap in gaps.items()))

    assert {name: job.pid for name, job in live.jobs.items()} == running
    said = said_of(dataflow_env)
    assert said.keys() == told.events.keys() | told.reasons.keys()
    assert {place: said[place][-1].event for place in told.events} == told.events
    letters = {letter.place: letter.reasons for letter in live.dead_letters()}
    assert letters == told.reasons
    # Nothing but what its schema has not been learned for is ever undecided, and that is not refused meanwhile.
    waited = {place for place in told.of_new_schemas if said[place][0].kind == "undecided"}
    assert waited, "no record of a new schema came before the job knew it: nothing was shown"
    for place, verdicts in said.items():
        kinds = {verdict.kind for verdict in verdicts} - ({"undecided"} if place in waited else set())
        last = "accepted" if place in told.events else "refused"
        assert kinds == {"undecided" if told.reasons.get(place) == UNKNOWN else last}, (place, verdicts)
    exactness = live.get("/v1/exactness")
    assert (exactness["exact"], exactness["held"]) == (True, {})
    assert exactness["counts"]["refused"] == len(told.reasons)
    assert exactness["counts"]["changed"] == len(told.events)

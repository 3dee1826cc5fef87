"""The judge for tests: the verdict on one event or on any bytes, without Spark and without a broker. Pure.

`streams.plain_judge` decides; DataFlow's tests hold it equal to the judge in Spark. Here is what stands around it:
bytes from an event, and the verdict in the form that it has on the judged topic.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from confluent_kafka import Message

from dataflow.testing.clock import Clock
from dataflow.testing.events import Events
from dataflow.testing.records import Record
from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS, Contract
from schemas.errors import EventError
from schemas.validate import broken_rules
from sources.codec import EventCodec
from streams.plain_judge import UNKNOWN_SCHEMA, PlainJudge, canonical_event

MAX_BYTES = 262_144  # of key and value, as the setting MAX_EVENT_BYTES has it
KINDS = {"a": "accepted", "r": "refused", "u": "undecided"}
LETTERS = {kind: letter for letter, kind in KINDS.items()}
NO_KEY = b"no key was given"

Schemas = Mapping[str, Sequence[RegisteredSchema]]


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one record, and where that is.

    `kind` is accepted, refused (with `reasons`), or undecided: its schema id is one that the judge does not know.
    `event` has no personal data and no nulls, money in minor units, times in µs. `kafka_time` is in µs.
    """

    topic: str
    partition: int
    offset: int
    kafka_time: int
    kind: str
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    event: Mapping[str, Any] | None = None
    content: int | None = None  # hash of the row: tells a repeat from a conflict, within one judge's verdicts

    @property
    def accepted(self) -> bool:
        return self.kind == "accepted"

    def as_json(self) -> dict[str, Any]:
        """As it stands on the judged topic."""
        found: dict[str, Any] = {
            "t": self.topic,
            "p": self.partition,
            "o": self.offset,
            "ts": self.kafka_time,
            "v": LETTERS[self.kind],
        }
        if not self.accepted:
            return found | {"r": list(self.reasons)}
        warnings = {"w": list(self.warnings)} if self.warnings else {}
        return found | {"h": self.content} | warnings | {"e": self.event}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """From the judged topic."""
        return cls(
            body["t"],
            body["p"],
            body["o"],
            body["ts"],
            KINDS[body["v"]],
            tuple(body.get("r", ())),
            tuple(body.get("w", ())),
            body.get("e"),
            body.get("h"),
        )


class Judge:
    """Judges records of all topics; called, it judges one event.

    `known` are the schemas that the registry lists under each topic, `schema_ids` the ids of the contracts' own, with
    which it encodes. None: there are only the contracts' own, under ids from 1 on.
    """

    def __init__(
        self,
        known: Schemas | None = None,
        schema_ids: Mapping[str, int] | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        events: Events | None = None,
        clock: Clock | None = None,
    ) -> None:
        known = own_schemas() if known is None else known
        self.events = events or Events(clock)
        self.clock = clock or self.events.clock
        self.codec = EventCodec(_own_ids(known) if schema_ids is None else schema_ids)
        self._plain = PlainJudge(known, max_bytes)

    def __call__(
        self,
        topic: str,
        event: Mapping[str, Any] | bytes | None,
        *,
        key: bytes | None = NO_KEY,
        kafka_time: int | None = None,
    ) -> Verdict:
        """The verdict on an event, whose missing fields get their defaults (see `Events`), or on a record's bytes.

        `key` is the record's; not given, it is the one that belongs to the event. `kafka_time`, in µs, is when the
        broker takes it; not given, it is the clock's time. Raises EventError for an event that Avro cannot hold: no
        producer could send it.
        """
        if isinstance(event, Mapping):
            own_key, value = self.encode(topic, event)
        else:
            own_key, value = self._key_in(topic, event), event
        at = self.clock.micros() if kafka_time is None else kafka_time
        return self.verdict(Record(topic, 0, 0, own_key if key is NO_KEY else key, value, at))

    def encode(self, topic: str, event: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Key and value of an event's record, for a test that damages it. Raises EventError."""
        whole = topic in CONTRACTS and event.keys() == CONTRACTS[topic].fields.keys()
        return self.codec.encode(topic, event if whole else self.events(topic, event))

    def verdict(self, record: Record | Message, topic: str | None = None) -> Verdict:
        """The verdict on a record; `topic` is its topic without the environment's prefix."""
        topic = record.topic() if topic is None else topic
        micros = record.kafka_time if isinstance(record, Record) else record.timestamp()[1] * 1000
        place = topic, record.partition(), record.offset(), micros
        reasons, event = self._plain.judge(topic, record.key(), record.value(), micros)
        if event is None:
            return Verdict(*place, "undecided" if reasons == [UNKNOWN_SCHEMA] else "refused", tuple(reasons))
        contract = CONTRACTS[topic]
        warnings = tuple(found.rule for found in broken_rules(contract, event, micros, "warn"))
        return Verdict(
            *place, "accepted", (), warnings, canonical_event(contract, event), content(contract, event)
        )

    def _key_in(self, topic: str, value: bytes | None) -> bytes:
        """The key that belongs to a value; one that belongs to none if there is no telling."""
        try:
            return str(self.codec.decode(topic, value or b"")[CONTRACTS[topic].key]).encode()
        except EventError:
            return NO_KEY


def own_schemas() -> dict[str, list[RegisteredSchema]]:
    """Each contract's own schema, as if it had been registered alone."""
    return {
        topic: [RegisteredSchema(number, 1, contract.avro_json)]
        for number, (topic, contract) in enumerate(CONTRACTS.items(), 1)
    }


def content(contract: Contract, event: Mapping[str, Any]) -> int:
    """A 64-bit hash of the row and of what happened to it, personal data included."""
    names = (*contract.row_fields, "op") if contract.is_change else contract.row_fields
    text = json.dumps({name: str(event[name]) for name in names if event[name] is not None})
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _own_ids(known: Schemas) -> dict[str, int]:
    """The id of each contract's own schema among those that are known."""
    return {
        topic: schema.schema_id
        for topic, schemas in known.items()
        for schema in schemas
        if json.loads(schema.avro) == dict(CONTRACTS[topic].avro)
    }

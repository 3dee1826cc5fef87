"""What the live job's tests share: the job as a process, records into source topics, verdicts out, and the account.

The account is kept the way a reader of the judged topic must keep it: by source partition, the next record only.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from dataflow.testing.live import spark_live_spec
from dataflow.testing.process import JobProcess
from infra.generations import Generation
from infra.kafka import admin, consumer, identities
from infra.registry import schema_ids
from infra.settings import Settings
from schemas.topics import SOURCE_TOPICS
from sources.codec import EventCodec
from sources.generator import ShopSimulator
from sources.producer import EventProducer
from streams.live.outputs import EXCERPT_BYTES
from tests.sources.generator_kit import ALL_UP, TIDY, history, reasons

Place = tuple[str, int]  # a source topic without prefix, and a partition


class LiveProcess(JobProcess):
    """The live Spark job as the supervisor would start it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, spark_live_spec)


class ShopFeed:
    """A seeded shop with all dials up, produced to the environment's real topics."""

    def __init__(self, settings: Settings, seed: int = 7) -> None:
        self.ids = schema_ids(settings)
        self.producer = EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, self.ids)
        self.codec = EventCodec(self.ids)
        self._shop = ShopSimulator(seed, datetime.now(UTC), self.ids, ALL_UP, live=True)
        self._good: dict[str, Iterator[Mapping[str, Any]]] = {}

    def produce(self, count: int) -> None:
        """The next `count` records, delivered when this returns."""
        for _ in range(count):
            emission = self._shop.next(datetime.now(UTC))
            self.producer.produce_raw(emission.topic, emission.key, emission.value)
        self.producer.flush()

    def good(self, topic: str) -> tuple[bytes, bytes, Mapping[str, Any]]:
        """Key, value and event of a record of the topic that must be accepted, another one each time; not produced."""
        if topic not in self._good:
            emissions, _ = history(TIDY)
            self._good[topic] = (e.event for e in emissions if e.topic == topic)
        event = next(self._good[topic])
        return *self.codec.encode(topic, event), event

    def send(self, topic: str, *records: tuple[bytes | None, bytes | None]) -> None:
        for key, value in records:
            self.producer.produce_raw(topic, key, value)
        self.producer.flush()


def committed(settings: Settings, *topics: str) -> Iterator[Message]:
    """Every record of the topics (full names) that a read_committed consumer sees, in order per partition."""
    found = identities(admin(settings.kafka_bootstrap_servers), topics)
    places = [TopicPartition(name, p, 0) for name, topic in found.items() for p in range(topic.partitions)]
    reader = consumer(
        settings.kafka_bootstrap_servers,
        "tests",
        **{"enable.partition.eof": True, "fetch.wait.max.ms": 20},
    )
    try:
        reader.assign(places)
        left = len(places)
        while left:
            message = reader.poll(30)
            assert message is not None, "the broker says nothing for 30 s"
            if message.error() is None:
                yield message
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                left -= 1
    finally:
        reader.close()


@dataclass
class Partition:
    """One source partition's verdicts as a reader takes them: the next record only, each once."""

    applied: dict[int, dict] = field(default_factory=dict)  # by source offset, in order
    repeats: int = 0
    returns: int = 0  # how often the offsets went back
    gaps: int = 0  # how often one was beyond the next

    @classmethod
    def of(cls, verdicts: Iterable[dict], offsets: Sequence[int]) -> Self:
        """`verdicts` in the order of the judged topic, `offsets` those of the source records."""
        found, last, due = cls(), -1, 0
        for verdict in verdicts:
            offset = verdict["o"]
            found.returns += offset <= last
            last = offset
            if offset in found.applied:
                found.repeats += 1
                assert found.applied[offset] == verdict, "a repeat says something else"
            elif due < len(offsets) and offset == offsets[due]:
                found.applied[offset] = verdict
                due += 1
            else:
                found.gaps += 1
        return found


class Account:
    """Every source record of the environment, and what the judged topic says of it."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self.settings, self.generation = settings, generation
        self.sources: dict[Place, list[Message]] = {}
        self.partitions: dict[Place, Partition] = {}
        self._arrived: dict[Place, list[dict]] = defaultdict(list)
        self._letters: dict[str, set[tuple]] = defaultdict(set)
        self._assigned = 0
        self._topic = generation.judged_topic(settings)
        self._reader = consumer(settings.kafka_bootstrap_servers, "tests")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()

    def settle(self, timeout: float = 180) -> Self:
        """Wait until every record that is in the source topics now has been applied, then check the whole account."""
        self._read_sources()

        def missing() -> list[tuple[Place, int, Partition]]:
            self.read()
            return [
                (place, len(messages), self.partitions[place])
                for place, messages in self.sources.items()
                if len(self.partitions[place].applied) < len(messages)
            ]

        deadline = time.monotonic() + timeout
        while left := missing():
            if time.monotonic() > deadline:
                told = [
                    f"{place}: {len(p.applied)} of {count} applied, {p.repeats} repeats, {p.gaps} gaps"
                    for place, count, p in left
                ]
                pytest.fail("source records without a verdict that a reader could apply:\n" + "\n".join(told))
        for place, messages in self.sources.items():
            assert list(self.partitions[place].applied) == [m.offset() for m in messages]
        self._check_dead_letters()
        return self

    def read(self) -> int:
        """Take in what there is on the judged topic; returns the number of verdicts so far."""
        self._assign()
        while messages := self._reader.consume(1_000, 0.1):
            for message in messages:
                assert message.error() is None, message.error()
                if message.headers():
                    self._letters[message.key().decode()].add(content(message))
                    continue
                verdict = json.loads(message.value())
                if verdict["v"] != "a":
                    assert f"{verdict['t']}/{verdict['p']}/{verdict['o']}" in self._letters, (
                        "no letter before it"
                    )
                assert message.partition() == verdict["p"]
                self._arrived[verdict["t"], verdict["p"]].append(verdict)
        self.partitions = {
            place: Partition.of(self._arrived[place], [m.offset() for m in messages])
            for place, messages in self.sources.items()
        }
        return sum(map(len, self._arrived.values()))

    def verdict(self, topic: str, partition: int, offset: int) -> dict:
        return self.partitions[topic, partition].applied[offset]

    def judged(self, topic: str, partition: int, offset: int) -> bool:
        """Whether there is any verdict for this offset, applied or not."""
        return any(verdict["o"] == offset for verdict in self._arrived[topic, partition])

    def total(self, name: str) -> int:
        """Sum of `repeats`, `returns` or `gaps` over the partitions."""
        return sum(getattr(partition, name) for partition in self.partitions.values())

    def _assign(self) -> None:
        """Take in partitions that were added."""
        found = identities(admin(self.settings.kafka_bootstrap_servers), [self._topic])[self._topic]
        if found.partitions > self._assigned:
            new = range(self._assigned, found.partitions)
            self._reader.incremental_assign([TopicPartition(self._topic, p, 0) for p in new])
            self._assigned = found.partitions

    def _read_sources(self) -> None:
        self.sources = defaultdict(list)
        prefix = self.settings.topic_prefix
        for message in committed(self.settings, *(prefix + topic for topic in SOURCE_TOPICS)):
            self.sources[message.topic().removeprefix(prefix), message.partition()].append(message)

    def _check_dead_letters(self) -> None:
        """A refused record comes whole before its verdict."""
        expected = {}
        for (topic, p), messages in self.sources.items():
            for message in messages:
                verdict = self.verdict(topic, p, message.offset())
                if verdict["v"] != "a":
                    value = message.value() or b""
                    size = len(value) + len(message.key() or b"")
                    if size > self.settings.max_event_bytes:
                        value = value[:EXCERPT_BYTES]
                    null = b"true" if message.value() is None else b"false"
                    letter = (value, null, ",".join(verdict["r"]), message.key())
                    expected[f"{topic}/{p}/{message.offset()}"] = {letter}
        # A record may be refused by one attempt only, when the next one knows its schema.
        assert {name: self._letters[name] for name in expected} == expected


def content(letter: Message) -> tuple[bytes | None, bytes, str, bytes | None]:
    """Value, is null, reasons, source key."""
    headers = dict(letter.headers())
    return letter.value(), headers["null_value"], headers["reasons"].decode(), headers["source_key"]


def against_plain_python(account: Account, codec: EventCodec) -> int:
    """Check each verdict against plain Python's; returns how many records were refused."""
    refused = 0
    for (topic, p), messages in account.sources.items():
        for message in messages:
            arrival = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            expected = reasons(topic, message.key(), message.value(), arrival, codec)
            verdict = account.verdict(topic, p, message.offset())
            assert (verdict["v"] != "a") == bool(expected), (topic, p, message.offset(), verdict, expected)
            refused += bool(expected)
    return refused


def verdicts_of(account: Account, topic: str, values: Iterable[bytes | None]) -> list[dict]:
    """The verdict of the newest record with each value."""
    places = {
        m.value(): (p, m.offset())
        for (t, p), messages in account.sources.items()
        if t == topic
        for m in messages
    }
    return [account.verdict(topic, *places[value]) for value in values]

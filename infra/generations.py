"""All generations of an environment, and the one pointer that says which is live: the log that they are recorded in.

Reads and writes the compacted topic `<env>.events.generations`, one partition. What is recorded there under a key:

    live        {"number", "before"}: the live generation, and the one that was live before it. One record is the
                switch: whoever has read it follows, and it is there or it is not
    g<N>        what generation N is a function of, see `Generation`
    g<N>/state  {"state"}: what its processes have to do, see `State`
    g<N>/code   {"digest", "declared"}: by which code it is made, see `infra.code`
    g<N>/plan   the plan that it was started by, if it is a replay

A change is decided by what is recorded, and nobody else can have changed that meanwhile: whoever changes something
first fences off everybody who was about to (a transactional id that all share), and then reads.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from infra.kafka import Offsets, TopicIdentity, admin, log_bounds
from infra.read_topic import read_topic
from infra.settings import Settings
from schemas.errors import GenerationError, Unavailable
from schemas.topics import DEAD_LETTER, GENERATIONS, JUDGED

LIVE = "live"
TIMEOUT = 15.0
TRIES = 5
PAUSE = 0.2
UNSURE = ". It may have been done all the same: see `dataflow replay status` before you do it again"

Changes = Mapping[str, Mapping[str, Any]]  # what to record, by key


class State(StrEnum):
    """What a generation's processes have to do."""

    RUNNING = "running"
    "They run: it is filled, and then follows the topics."
    PAUSED = "paused"
    "They stand still, and go on from there when it runs again."
    GONE = "gone"
    "They have ended for good, and what they made is removed."


@dataclass(frozen=True)
class Archive:
    """Where records are read that the topics no longer hold: bronze of generation `number`, below the `seams`.

    `seams` are the first offsets that are read from Kafka, by topic and partition; `manifest` has all below them: it
    ends before `until`.
    """

    number: int
    manifest: int
    seams: Mapping[str, Sequence[int]]
    until: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def seam(self, topic: str, partition: int) -> int:
        """Records of a partition below this offset come from bronze; 0: none."""
        return _at(self.seams, topic, partition)

    def end(self, topic: str, partition: int) -> int:
        """The first offset of a partition that the manifest does not have; 0: it has nothing of it."""
        return _at(self.until, topic, partition)


@dataclass(frozen=True)
class Clone:
    """Its lake begins as that of generation `number` is, but for `tables`, which are made anew out of its silver."""

    number: int
    tables: tuple[str, ...] = ()


def _at(offsets: Mapping[str, Sequence[int]], topic: str, partition: int) -> int:
    """Of a partition that was added since there is nothing."""
    found = offsets.get(topic, ())
    return found[partition] if partition < len(found) else 0


@dataclass(frozen=True)
class Generation:
    """One evaluation of the source topics. `topics` is keyed by the name without the environment's prefix.

    `lake_first`: its lake takes in what there is before its live numbers begin, which are filled out of it.
    """

    number: int
    topics: Mapping[str, TopicIdentity]
    starts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    archive: Archive | None = None
    lake_first: bool = False
    clone: Clone | None = None

    def start(self, topic: str, partition: int) -> int:
        """The first offset of a source partition when the generation began; 0 for one that was added since."""
        return _at(self.starts, topic, partition)

    @property
    def name(self) -> str:
        return f"g{self.number}"

    def judged_topic(self, settings: Settings) -> str:
        return f"{settings.topic_prefix}{self.name}.{JUDGED}"

    def dead_letter_topic(self, settings: Settings) -> str:
        """Where the records go that it refuses. What an import refuses is of none: `<env>.events.dead_letter`."""
        return f"{settings.topic_prefix}{self.name}.{DEAD_LETTER}"

    def partitions(self) -> list[tuple[str, int]]:
        """All source partitions, by topic name without prefix."""
        return [(topic, p) for topic, identity in self.topics.items() for p in range(identity.partitions)]

    def by_topic(self, offsets: Offsets) -> dict[str, list[int]]:
        """Offsets of all source partitions as they are recorded."""
        return {t: [offsets[t, p] for p in range(identity.partitions)] for t, identity in self.topics.items()}

    def seams(self) -> Offsets:
        """Below which offset each source partition is read from the archive; 0 where there is none."""
        return {at: self.archive.seam(*at) if self.archive else 0 for at in self.partitions()}

    def as_json(self) -> dict[str, Any]:
        """As it is recorded."""
        return {
            "number": self.number,
            "topics": {t: asdict(i) for t, i in self.topics.items()},
            "starts": {t: list(offsets) for t, offsets in self.starts.items()},
            "archive": self.archive and asdict(self.archive),
            "lake_first": self.lake_first,
            "clone": self.clone and asdict(self.clone),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        topics = {topic: TopicIdentity(**identity) for topic, identity in body["topics"].items()}
        archive, clone = body.get("archive"), body.get("clone")
        return cls(
            body["number"],
            topics,
            body.get("starts", {}),
            archive and Archive(**archive),
            body.get("lake_first", False),
            clone and Clone(clone["number"], tuple(clone["tables"])),
        )


@dataclass(frozen=True)
class Recorded:
    """What is recorded of one generation. `since` is when (UTC seconds) it was recorded first.

    `removed`: it is gone, and so is all that it has made.
    """

    generation: Generation
    state: State = State.RUNNING
    code: Mapping[str, Any] | None = None
    plan: Mapping[str, Any] | None = None
    since: float = 0.0
    removed: bool = False


@dataclass(frozen=True)
class Generations:
    """All that is recorded. `live` is None before the first; `before` was live before the last switch."""

    live: int | None = None
    before: int | None = None
    known: Mapping[int, Recorded] = field(default_factory=dict)

    @property
    def live_generation(self) -> Generation | None:
        return None if self.live is None else self.known[self.live].generation

    def of(self, number: int) -> Recorded:
        """Raises GenerationError for one that was never recorded, or is gone."""
        there = ", ".join(f"g{n}" for n, each in sorted(self.known.items()) if each.state is not State.GONE)
        found = self.known.get(number)
        if found is None or found.state is State.GONE:
            what = "is gone" if found else "was never started"
            raise GenerationError(
                f"expected one of the generations {there or '(none yet)'}; g{number} {what}"
            )
        return found

    def served(self, settings: Settings) -> Generation | None:
        """The one that a process serves: DATAFLOW_GENERATION names it, else it is the live one; None before the first.

        Raises GenerationError if the named one was never recorded, or is gone.
        """
        number = settings.dataflow_generation
        return self.live_generation if number is None else self.of(number).generation

    def next_number(self) -> int:
        return max(self.known, default=0) + 1

    def running(self) -> list[int]:
        """Whose processes have to run, in the order of their numbers."""
        return sorted(n for n, each in self.known.items() if each.state is State.RUNNING)


@dataclass(frozen=True)
class _Log:
    """The newest record of each key, and when (UTC seconds) its first one came."""

    newest: Mapping[str, Any]
    since: Mapping[str, float]

    def read(self) -> Generations:
        bodies = {key: body for key, body in self.newest.items() if key.startswith("g") and "/" not in key}
        pointer = self.newest.get(LIVE)
        if pointer is not None and "topics" in pointer:  # recorded before there was more than the live one
            bodies = {f"g{pointer['number']}": pointer, **bodies}
        known = {
            body["number"]: self._recorded(key, body) for key, body in bodies.items() if body is not None
        }
        if pointer is None:
            return Generations(known=known)
        return Generations(pointer["number"], pointer.get("before"), known)

    def _recorded(self, key: str, body: Mapping[str, Any]) -> Recorded:
        state = self.newest.get(f"{key}/state") or {}
        return Recorded(
            Generation.from_json(body),
            State(state.get("state", State.RUNNING)),
            self.newest.get(f"{key}/code"),
            self.newest.get(f"{key}/plan"),
            self.since.get(key, self.since.get(LIVE, 0.0)),
            state.get("removed", False),
        )


def read_generations(settings: Settings) -> Generations:
    """What is recorded now. Raises Unavailable."""
    return _read(settings).read()


def _read(settings: Settings) -> _Log:
    newest: dict[str, Any] = {}
    since: dict[str, float] = {}
    try:
        for message in read_topic(settings.kafka_bootstrap_servers, settings.topic_prefix + GENERATIONS):
            key = (message.key() or b"").decode()
            newest[key] = json.loads(message.value() or b"null")
            since.setdefault(key, message.timestamp()[1] / 1000)
    except GenerationError:
        pass  # there is no such topic: nothing was ever started
    return _Log(newest, since)


def change_generations(settings: Settings, decide: Callable[[Generations], Changes]) -> Generations:
    """Record what `decide` makes of what is recorded, all of it or nothing; returns what is recorded then.

    `decide` may be called again, when somebody else was faster. Where the broker did not say whether it has recorded
    it, that is looked up. Raises what `decide` raises, and Unavailable.
    """
    unsure: Changes | None = None
    for left in reversed(range(TRIES)):
        changes: Changes = {}
        producer = Producer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "transactional.id": f"{settings.topic_prefix}{GENERATIONS}",
                "transaction.timeout.ms": int(TIMEOUT * 1000),
                "log_level": 2,
            }
        )
        try:
            producer.init_transactions(TIMEOUT)  # also ends a transaction of before, one way or the other
            now = _read(settings)
            if unsure and all(now.newest.get(key) == body for key, body in unsure.items()):
                return now.read()  # it was
            changes = decide(now.read())
            if not changes:
                return now.read()
            pointer = now.newest.get(LIVE) or {}
            if LIVE in changes and "topics" in pointer and f"g{pointer['number']}" not in now.newest:
                # It was recorded in the pointer alone, which is about to be another.
                changes = {f"g{pointer['number']}": pointer, **changes}
            written = _record(producer, settings, changes)
        except KafkaException as error:
            if left and error.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
                time.sleep(PAUSE)  # somebody else has begun to change something after this did
                continue
            if left and changes and not unsure:
                unsure = json.loads(json.dumps(changes))  # as it is read
                continue
            why = f"the generations could not be recorded: {error.args[0].str()}"
            raise Unavailable(why + UNSURE if unsure or changes else why) from error
        except Unavailable as error:
            if unsure:
                raise Unavailable(f"{error}{UNSURE}") from error
            raise
        with suppress(Unavailable):  # it is recorded
            _await_shown(settings, written)
        return replace(now, newest={**now.newest, **changes}).read()
    raise AssertionError("the last try returns or raises")


def _record(producer: Producer, settings: Settings, changes: Changes) -> int:
    """Write them in one transaction; returns the offset of the last."""
    written: list[int] = []
    producer.begin_transaction()
    for key, body in changes.items():
        producer.produce(
            settings.topic_prefix + GENERATIONS,
            json.dumps(body).encode(),
            key.encode(),
            on_delivery=lambda _, message: written.append(message.offset()),
        )
    producer.commit_transaction(TIMEOUT)
    return max(written)


def _await_shown(settings: Settings, offset: int) -> None:
    """The broker shows a transaction to readers some milliseconds after it has taken it for good."""
    client, at = admin(settings.kafka_bootstrap_servers), (settings.topic_prefix + GENERATIONS, 0)
    deadline = time.monotonic() + TIMEOUT
    while log_bounds(client, [at])[1][at] <= offset and time.monotonic() < deadline:
        time.sleep(0.01)

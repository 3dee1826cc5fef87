"""Puts dead letters back into their source topics, each exactly once, whatever is killed when.

Reads the dead letters of the generation that it serves, the registry and, for letters that keep only a beginning, the
source topics or bronze. Writes source topics and `<env>.events.redriven`, both in one Kafka transaction, so that a
letter is marked if and only if its record is in. The marks are of the source topics, and so the same for all
generations. A record put back is a new one at a new offset: the verdict on the old one stands, and versions and event
ids decide what the new one changes.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Producer

from infra.failpoints import Failpoints
from infra.generation import current_generation
from infra.read_topic import read_topic
from infra.registry import TopicSchemas
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from schemas.topics import REDRIVEN
from serving.dead_letters.letter import REDRIVEN_FROM, DeadLetter, Header, Place
from serving.dead_letters.marks import mark_of, marked
from serving.dead_letters.originals import Originals
from serving.dead_letters.scan import Read, Wanted, read_letters
from serving.dead_letters.topics import LetterTopics
from serving.fold.fold import CONFLICT
from streams.plain_judge import PlainJudge

# One transaction: so many letters, or bytes of them.
BATCH, BATCH_BYTES = 500, 16 * 1024 * 1024
TIMEOUT = 30.0  # seconds
# Only a killed run leaves its transaction open; nobody reads on behind it until the broker gives it up.
TRANSACTION_MS = 15_000
ABORT_SECONDS = 5.0

# Why a letter is not put back.
ALREADY, LINE, UNKNOWN_TOPIC, LOST, HOPELESS = (
    "already_redriven",
    "line_of_a_file",
    "no_contract_for_its_topic",
    "bytes_lost",
    "still_refused",
)


class Whole(NamedTuple):
    """A record as it was."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()

    @property
    def size(self) -> int:
        """Bytes, but for the headers', which are few."""
        return len(self.key or b"") + len(self.value or b"")


@dataclass
class Redrive:
    """What a re-drive is to do, or has done. `left` counts what stays by why, `refused` the reasons it would have."""

    wanted: int = 0
    ready: dict[str, Place] = field(default_factory=dict)  # id → where its newest copy is
    topics: Counter[str] = field(default_factory=Counter)  # of the ready ones
    left: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)  # topic, reason
    redriven: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "wanted": self.wanted,
            "ready": len(self.ready),
            "ready_by_topic": dict(self.topics),
            "left": dict(self.left),
            "still_refused": [
                {"topic": topic, "reason": reason, "letters": n}
                for (topic, reason), n in sorted(self.refused.items())
            ],
            "redriven": self.redriven,
        }


class Redriver:
    """Plans and carries out re-drives of one generation's letters. A context manager."""

    def __init__(self, settings: Settings, read: Read = read_letters) -> None:
        self.settings = settings
        self._read = read
        self._generation = current_generation(settings)
        self.topics = LetterTopics.of(settings, self._generation)
        schemas = TopicSchemas(settings)
        try:
            known = {topic: schemas.of(topic) for topic in CONTRACTS}
        finally:
            schemas.close()
        self._judge = PlainJudge(known, settings.max_event_bytes)
        self._originals = Originals(settings)
        self._failpoints = Failpoints(settings)

    def __enter__(self) -> "Redriver":
        return self

    def __exit__(self, *error: object) -> None:
        self._originals.close()

    def plan(self, wanted: Wanted, *, hopeless: bool = False) -> Redrive:
        """What there is to put back: letters whose records would be accepted now, all if `hopeless`. Changes nothing.

        Raises Unavailable, GenerationError.
        """
        done, plan = self._redriven(), Redrive()
        newest: dict[str, str | Place] = {}  # of the wanted ones: why it is left, or where it is
        for letter in self._read(self.settings, self.topics):
            if wanted.matches(letter):
                newest[letter.id] = self._left(letter, done) or letter.place
            else:
                newest.pop(letter.id, None)
        plan.wanted = len(newest)
        plan.left.update(found for found in newest.values() if isinstance(found, str))
        chosen = {letter_id: found for letter_id, found in newest.items() if not isinstance(found, str)}
        for letter, record in self._records(chosen):
            if record is None:
                plan.left[LOST] += 1
                continue
            now = time.time_ns() // 1000
            reasons, _ = self._judge.judge(letter.source_topic, record.key, record.value, now)
            # Which no judge sees, and no change of contracts mends.
            if not reasons and CONFLICT in letter.reasons:
                reasons = (CONFLICT,)
            plan.refused.update((letter.source_topic, reason) for reason in reasons)
            if reasons and not hopeless:
                plan.left[HOPELESS] += 1
                continue
            plan.ready[letter.id] = chosen[letter.id]
            plan.topics[letter.source_topic] += 1
        return plan

    def run(self, plan: Redrive) -> None:
        """Put back what `plan` has ready and nobody has put back since. Counts in `plan.redriven`.

        Raises Unavailable; what was put back until then stays so, and the next run goes on behind it.
        """
        producer = self._producer()
        # From here on a rival cannot commit any more; what it has committed is seen.
        done = self._redriven()
        waiting = {letter_id: at for letter_id, at in plan.ready.items() if letter_id not in done}
        letters = self._records(waiting)
        for records in batches((letter, record) for letter, record in letters if record is not None):
            try:
                self._put_back(producer, records)
            except KafkaException as error:
                raise Unavailable(
                    f"the re-drive stopped after {plan.redriven:,} records: {error.args[0].str()}. Nothing is half "
                    "done: run it again to go on. Another re-drive that was started meanwhile ends this one"
                ) from error
            plan.redriven += len(records)

    def _left(self, letter: DeadLetter, done: set[str]) -> str | None:
        if letter.is_import:
            return LINE
        if letter.source_topic not in CONTRACTS or letter.source_topic not in self._generation.topics:
            return UNKNOWN_TOPIC
        return ALREADY if letter.id in done else None

    def _records(self, places: dict[str, Place]) -> Iterator[tuple[DeadLetter, Whole | None]]:
        """The letters at `places` with their records, whole; None for one that is nowhere any more."""
        if not places:
            return
        for letter in self._read(self.settings, self.topics, keep_bytes=True):
            if places.get(letter.id) != letter.place:
                continue
            if letter.truncated:
                yield letter, self._source_record(letter)
            else:
                value = None if letter.null_value else letter.value
                yield letter, Whole(letter.key, value, letter.headers)

    def _source_record(self, letter: DeadLetter) -> Whole | None:
        try:
            record = self._originals.record(letter)
        except Unavailable:
            return None
        return Whole(record.key(), record.value(), tuple(record.headers() or ()))

    def _redriven(self) -> set[str]:
        topic = self.settings.topic_prefix + REDRIVEN
        marks = read_topic(self.settings.kafka_bootstrap_servers, topic)
        return {found for mark in marks if (found := marked(mark, self._generation.topics)) is not None}

    def _producer(self) -> Producer:
        producer = Producer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap_servers,
                "transactional.id": f"{self.settings.topic_prefix}redrive",
                "transaction.timeout.ms": TRANSACTION_MS,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "message.max.bytes": 100_000_000,  # the broker decides
                "log_level": 2,
            }
        )
        try:
            producer.init_transactions(TIMEOUT)
        except KafkaException as error:
            raise Unavailable(f"the broker starts no transaction: {error.args[0].str()}") from error
        return producer

    def _put_back(self, producer: Producer, records: Iterable[tuple[DeadLetter, Whole]]) -> None:
        prefix = self.settings.topic_prefix
        producer.begin_transaction()
        try:
            for letter, record in records:
                # Of one that is put back again the newest letter is named.
                headers = [each for each in record.headers if each[0] != REDRIVEN_FROM]
                headers.append((REDRIVEN_FROM, letter.id.encode()))
                producer.produce(prefix + letter.source_topic, record.value, record.key, headers=headers)
                mark = mark_of(letter, self._generation.topics[letter.source_topic])
                producer.produce(prefix + REDRIVEN, mark, letter.id)
            producer.flush(TIMEOUT)
            self._failpoints.hit("redrive.before_commit")
            producer.commit_transaction(TIMEOUT)
        except BaseException:  # Ctrl-C too: an open transaction holds up all who read these topics
            # Of one that a rival has fenced off, or that is committed after all, there is nothing to abort.
            with suppress(KafkaException):
                producer.abort_transaction(ABORT_SECONDS)
            raise
        self._failpoints.hit("redrive.after_commit")


def batches(records: Iterable[tuple[DeadLetter, Whole]]) -> Iterator[list[tuple[DeadLetter, Whole]]]:
    """Those of one transaction each: a broker gives up one that takes long."""
    batch: list[tuple[DeadLetter, Whole]] = []
    size = 0
    for letter, record in records:
        batch.append((letter, record))
        size += record.size
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

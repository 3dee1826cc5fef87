"""Keeps an index of the dead letters up to date, in a thread of its own, from the topic's beginning or the newest part.

Reads `<env>.events.dead_letter` and `<env>.events.redriven` as a read_committed consumer, and looks every few seconds
whether they are still the same topics and where the first begins by now. Whatever goes wrong, it starts again.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.kafka import TopicIdentity, admin, consumer, identities, log_bounds
from infra.settings import Settings
from schemas.errors import DataflowError, GenerationError, Unavailable
from schemas.topics import DEAD_LETTER, REDRIVEN
from serving.dead_letters.index import LetterIndex, shares
from serving.dead_letters.letter import DeadLetter

BATCH = 100
# The interpreter lets only one thread run: reading on without a pause would cost every push up to 5 ms.
PAUSE = 0.001
LOOK_SECONDS = 4.0
RETRY_SECONDS = 1.0
WAIT_SECONDS = 0.5
# What librdkafka mends by itself, with back-off.
PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT}


@dataclass(frozen=True)
class View:
    """How many letters there are as of `offsets` (partition → next one); `more`: there are older ones, not counted."""

    letters: int
    redriven: int
    more: bool
    offsets: Mapping[int, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        offsets = {str(partition): offset for partition, offset in sorted(self.offsets.items())}
        return {"letters": self.letters, "redriven": self.redriven, "more": self.more, "offsets": offsets}


class Follower:
    """One environment's letters. `view` is None until the topic has been read to its end once."""

    def __init__(self, settings: Settings, index: LetterIndex | None = None) -> None:
        self.index = index or LetterIndex()
        self.view: View | None = None
        self._settings = settings
        self._letters, self._marks = (settings.topic_prefix + name for name in (DEAD_LETTER, REDRIVEN))
        self._changed = threading.Condition()
        self._positions: dict[tuple[str, int], int] | None = None  # None: nothing is followed yet
        self._first: dict[int, int] = {}
        self._error: DataflowError = Unavailable("the dead letters have not been looked at yet")
        self._failures = 0
        self._stopped = threading.Event()

    @cached_property
    def _admin(self) -> AdminClient:
        return admin(self._settings.kafka_bootstrap_servers)

    def start(self) -> None:
        # A daemon: a call into a broker that hangs must not hold up the end of the process.
        threading.Thread(target=self._run, name="dead-letter-index", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def older(self) -> dict[int, int]:
        """Where letters are that the index does not hold: partition → below which offset."""
        floors = dict(self.index.floors)
        return {p: floor for p, floor in floors.items() if self._first.get(p, 0) < floor}

    def catch_up(self, check: Callable[[], None]) -> LetterIndex:
        """The index once it holds all that the topics hold now. `check` is called meanwhile, and may raise.

        Raises GenerationError if there is no such topic, Unavailable if the broker does not answer.
        """
        check()
        failures = self._failures
        ends: Mapping[tuple[str, int], int] | None = None
        while True:
            with self._changed:
                positions = None if self._positions is None else dict(self._positions)
                if positions is None or (ends is not None and self._is_behind(positions, ends)):
                    self._changed.wait(0.05)
            if positions is None:
                ends = None  # what they were of another topic says nothing
            elif ends is None:
                ends = log_bounds(self._admin, list(positions))[1]
            elif not self._is_behind(positions, ends):
                return self.index
            if self._failures > failures + 1:
                raise self._error
            check()

    def _is_behind(
        self, positions: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]
    ) -> bool:
        return any(positions.get(at, 0) < end for at, end in ends.items())

    # --- in the thread

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except DataflowError as error:
                self._error = error
            except KafkaException as error:
                self._error = Unavailable(f"the dead letters cannot be read: {error.args[0].str()}")
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever the client library raises
                self._error = Unavailable(f"the dead letters cannot be read: {type(error).__name__}: {error}")
            with self._changed:
                self._positions, self.view = None, None
                self._failures += 1
                self._changed.notify_all()
            self._stopped.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        """From the topics as they are until they are others."""
        names = (self._letters, self._marks)
        found = identities(self._admin, names)
        for name in names:
            if name not in found:
                raise GenerationError(
                    f"expected topic {name} to exist; create it with `dataflow up` or `python -m infra.bootstrap`"
                )
        places = [(name, p) for name in names for p in range(found[name].partitions)]
        first, ends = log_bounds(self._admin, places)
        starts = self._starts(first, ends)
        self._first = {p: offset for (name, p), offset in first.items() if name == self._letters}
        self.index.begin({p: offset for (name, p), offset in starts.items() if name == self._letters})
        config = {"enable.partition.eof": True, "queued.max.messages.kbytes": 8_192}
        bootstrap = self._settings.kafka_bootstrap_servers
        reader: Consumer = consumer(bootstrap, f"{self._letters}-index", **config)
        try:
            reader.assign([TopicPartition(*at, offset) for at, offset in starts.items()])
            with self._changed:
                self._positions = dict(starts)
            looked = time.monotonic()
            while not self._stopped.is_set():
                self._take(reader.consume(BATCH, WAIT_SECONDS), ends)
                if time.monotonic() - looked > LOOK_SECONDS:
                    looked = time.monotonic()
                    self._look(found)
        finally:
            reader.close()

    def _starts(
        self, first: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]
    ) -> dict[tuple[str, int], int]:
        """The newest letters that there is room for, and all marks."""
        sizes = {p: ends[name, p] - offset for (name, p), offset in first.items() if name == self._letters}
        room = shares(sizes, self.index.most)
        return {
            (name, p): ends[name, p] - room[p] if name == self._letters else offset
            for (name, p), offset in first.items()
        }

    def _take(self, messages: list[Message], ends: Mapping[tuple[str, int], int]) -> None:
        letters, marks, reached = [], [], {}
        for message in messages:
            at = message.topic(), message.partition()
            if error := message.error():
                if error.code() == KafkaError._PARTITION_EOF:
                    reached[at] = message.offset()
                elif error.code() not in PASSING:
                    raise Unavailable(f"the dead letters cannot be read: {error.str()}")
                continue
            reached[at] = message.offset() + 1
            if at[0] == self._letters:
                letters.append(DeadLetter.of(message, keep_bytes=False))
            elif message.key():
                marks.append(message.key().decode("utf-8", "backslashreplace"))
        if letters:
            self.index.add(letters)
        if marks:
            self.index.mark_redriven(marks)
        if not reached:
            return
        with self._changed:
            self._positions |= reached
            if self.view is not None or not self._is_behind(self._positions, ends):
                self._show()
            self._changed.notify_all()
        if letters:
            time.sleep(PAUSE)

    def _show(self) -> None:
        offsets = {p: offset for (name, p), offset in self._positions.items() if name == self._letters}
        index = self.index
        self.view = View(index.letters, index.redriven_marks, bool(self.older()), offsets)

    def _look(self, known: Mapping[str, TopicIdentity]) -> None:
        """Raises Unavailable if the topics are others, or have other partitions; drops what retention took."""
        if identities(self._admin, known) != known:
            raise Unavailable(
                "the dead letters are in another topic now, or in more partitions: looking again"
            )
        places = [(self._letters, p) for p in range(known[self._letters].partitions)]
        self._first = {p: offset for (_, p), offset in log_bounds(self._admin, places)[0].items()}
        self.index.drop_before(self._first)
        with self._changed:
            if self.view is not None:
                self._show()

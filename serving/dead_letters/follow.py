"""Keeps an index of the dead letters up to date, in a thread of its own, from the topics' beginning or the newest part.

Reads the dead letters of the generation that is served (see `topics`) and `<env>.events.redriven` as a read_committed
consumer, and looks every few seconds whether that generation still is, whether they are still the same topics and where
they begin by now. Another generation gets an index of its own. Whatever goes wrong, it starts again.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.generation import GenerationWatch, served_generation
from infra.kafka import Offsets, TopicIdentity, admin, consumer, identities, log_bounds
from infra.settings import Settings
from schemas.errors import DataflowError, GenerationError, Unavailable
from schemas.topics import REDRIVEN
from serving.dead_letters.index import KEPT, LetterIndex, shares
from serving.dead_letters.letter import At, DeadLetter
from serving.dead_letters.marks import marked
from serving.dead_letters.topics import LetterTopics

BATCH = 100
# The interpreter lets only one thread run: reading on without a pause would cost every push up to 5 ms.
PAUSE = 0.001
LOOK_SECONDS = 2.0
RETRY_SECONDS = 1.0
WAIT_SECONDS = 0.5
# What librdkafka mends by itself, with back-off.
PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT}


@dataclass(frozen=True)
class View:
    """How many letters a generation and imports have as of `offsets` (the next of each partition).

    `more`: there are older ones, not counted.
    """

    generation: str
    letters: int
    redriven: int
    more: bool
    offsets: Mapping[At, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        offsets: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in sorted(self.offsets.items()):
            offsets.setdefault(topic, {})[str(partition)] = offset
        counts = {"letters": self.letters, "redriven": self.redriven, "more": self.more}
        return {"generation": self.generation, **counts, "offsets": offsets}


class Follower:
    """The letters of the generation that is served. `index` is None while nothing is followed.

    `view` is None until the topics have been read to their end once. `most`: how many letters the index keeps.
    """

    def __init__(self, settings: Settings, most: int = KEPT) -> None:
        self.index: LetterIndex | None = None
        self.view: View | None = None
        self._settings, self._most = settings, most
        self._marks = settings.topic_prefix + REDRIVEN
        self._changed = threading.Condition()
        self._positions: Offsets = {}  # of `index`
        self._sources: Mapping[str, TopicIdentity] = {}  # of the generation that is followed
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

    def catch_up(self, check: Callable[[], None]) -> LetterIndex:
        """The index once it holds all that the topics hold now. `check` is called meanwhile, and may raise.

        Raises GenerationError if there is no such topic, Unavailable if the broker does not answer.
        """
        check()
        failures = self._failures
        asked: LetterIndex | None = None
        ends: Offsets = {}
        while True:
            with self._changed:
                if self.index is None or (self.index is asked and self._is_behind(ends)):
                    self._changed.wait(0.05)
                index, places = self.index, list(self._positions)
                behind = index is not asked or self._is_behind(ends)
            if index is not None and not behind:
                return index
            if index is not None and index is not asked:
                # What the ends were of other topics says nothing.
                asked, ends = index, log_bounds(self._admin, places)[1]
            if self._failures > failures + 1:
                raise self._error
            check()

    def _is_behind(self, ends: Offsets) -> bool:
        return any(self._positions.get(at, 0) < end for at, end in ends.items())

    # --- in the thread

    def _run(self) -> None:
        while not self._stopped.is_set():
            failed = True
            try:
                self._follow()
                failed = False
            except DataflowError as error:
                self._error = error
            except KafkaException as error:
                self._error = Unavailable(f"the dead letters cannot be read: {error.args[0].str()}")
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever the client library raises
                self._error = Unavailable(f"the dead letters cannot be read: {type(error).__name__}: {error}")
            with self._changed:
                self.index, self.view, self._positions = None, None, {}
                self._failures += failed
                self._changed.notify_all()
            if failed:
                self._stopped.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        """From the topics as they are until another generation is served. Raises Unavailable if they are others."""
        generation = served_generation(self._settings, patience=0)
        topics = LetterTopics.of(self._settings, generation)
        watch, self._sources = GenerationWatch(self._settings, generation), generation.topics
        names = (*topics.names, self._marks)
        found = identities(self._admin, names)
        for name in names:
            if name not in found:
                raise GenerationError(
                    f"expected topic {name} to exist; create it with `dataflow up` or `python -m infra.bootstrap`"
                )
        places = [(name, p) for name in names for p in range(found[name].partitions)]
        first, ends = log_bounds(self._admin, places)
        # The newest letters that there is room for, and all marks.
        letters = self._of_letters(first)
        room = shares({at: ends[at] - offset for at, offset in letters.items()}, self._most)
        floors = {at: ends[at] - room[at] for at in letters}
        starts = {**first, **floors}
        config = {"enable.partition.eof": True, "queued.max.messages.kbytes": 8_192}
        bootstrap = self._settings.kafka_bootstrap_servers
        reader: Consumer = consumer(bootstrap, f"{topics.shared}-index", **config)
        try:
            reader.assign([TopicPartition(*at, offset) for at, offset in starts.items()])
            with self._changed:
                self.index = LetterIndex(topics, letters, floors, self._most)
                self._positions = dict(starts)
            looked = time.monotonic()
            while not self._stopped.is_set():
                self._take(reader.consume(BATCH, WAIT_SECONDS), ends)
                if time.monotonic() - looked > LOOK_SECONDS:
                    looked = time.monotonic()
                    if watch.superseded_by() is not None:
                        return
                    self._look(found)
        finally:
            reader.close()

    def _of_letters(self, offsets: Offsets) -> Offsets:
        return {at: offset for at, offset in offsets.items() if at[0] != self._marks}

    def _take(self, messages: list[Message], ends: Offsets) -> None:
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
            if at[0] != self._marks:
                letters.append(DeadLetter.of(message, keep_bytes=False))
            elif (letter_id := marked(message, self._sources)) is not None:
                marks.append(letter_id)
        letters = [letter for letter in letters if self.index.topics.hold(letter)]
        if letters:
            self.index.add(letters)
        if marks:
            self.index.mark_redriven(marks)
        if not reached:
            return
        with self._changed:
            self._positions |= reached
            if self.view is not None or not self._is_behind(ends):
                self._show()
            self._changed.notify_all()
        time.sleep(PAUSE)

    def _show(self) -> None:
        index, offsets = self.index, self._of_letters(self._positions)
        more = bool(index.older())
        self.view = View(index.topics.generation, index.letters, index.redriven_marks, more, offsets)

    def _look(self, known: Mapping[str, TopicIdentity]) -> None:
        """Raises Unavailable if the topics are others, or have other partitions; drops what retention took."""
        if identities(self._admin, known) != known:
            raise Unavailable(
                "the dead letters are in another topic now, or in more partitions: looking again"
            )
        places = list(self._of_letters(self._positions))
        self.index.drop_before(log_bounds(self._admin, places)[0])
        with self._changed:
            if self.view is not None:
                self._show()

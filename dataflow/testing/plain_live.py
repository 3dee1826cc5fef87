"""The live job in plain Python: reads source topics, writes verdicts, as `streams.live` does with Spark.

It works seconds earlier, and can be told which verdicts to leave out, so what comes behind it can be tested fast. Tests
hold the two to the same verdicts. As a process: `python -m dataflow.testing.plain_live`. Reads the source topics, the
registry and the control topic; writes the generation's judged topic.
"""

import sys
import time
from collections.abc import Callable, Iterator
from heapq import merge
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from dataflow.testing.judge import Judge, Verdict
from dataflow.testing.letters import letter_of
from infra.entry import run_process
from infra.generation import current_generation, source_bounds
from infra.generations import Generation
from infra.kafka import Offsets, consumer
from infra.registry import schema_ids
from infra.runtime.probes import status_file
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from infra.status import write_status
from schemas.errors import Unavailable
from serving.materializer.judged import PASSING
from sources.codec import HEADER
from streams.archive import plot
from streams.control import ControlReader, last_needed
from streams.limits import KEY_BYTES
from streams.live.attempt import starting_offsets
from streams.stop import StopRequest
from streams.world import World

RUN = 500  # records between two looks at anything else
PATIENCE = 0.02  # seconds to wait for a record
WATCH_SECONDS = 3.0
TIMEOUT = 30.0


class PlainLive:
    """The live job of one generation: `follow` is its loop, `judge` one pass to the ends of the topics."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self.settings, self.generation = settings, generation
        self.world = World(settings, generation)
        self.control = ControlReader(settings, generation.name)
        self.refused: dict[str, tuple[Message, Verdict]] = {}  # by topic/partition/offset
        self.next: Offsets = dict.fromkeys(generation.partitions(), 0)
        self._ids = schema_ids(settings)
        self._learn()
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 1, "log_level": 2}
        )
        self._reader: Consumer = consumer(
            settings.kafka_bootstrap_servers,
            f"{settings.topic_prefix}plain-live",
            **{"enable.partition.eof": True, "fetch.wait.max.ms": 10},
        )

    def judge(
        self,
        start: Offsets | None = None,
        leave_out: Callable[[Verdict], bool] = lambda _: False,
        leave_out_letter: Callable[[Verdict], bool] = lambda _: False,
    ) -> int:
        """Write a verdict for every committed record from `start` (default: where it stopped) to the ends.

        Returns how many it wrote. What is left out is as if it had got lost on its way.
        """
        first, ends = source_bounds(self.settings, self.generation)
        since = starting_offsets(self.generation, self.next if start is None else start, first, ends)
        course = plot(self.settings, self.generation, since, first)
        at, written = dict(course.start), 0

        def write(message: Message) -> None:
            nonlocal written
            verdict = self.verdict(message)
            if not leave_out(verdict):
                self._write(message, verdict, without_letter=leave_out_letter(verdict))
                written += 1

        for place, offset in since.items():
            for message in course.messages(*place, offset, course.turn[place]):
                write(message)
        open_ = {place for place, offset in at.items() if offset < ends[place]}
        self._assign({place: at[place] for place in open_})
        read: dict[tuple[str, int], list[Message]] = {place: [] for place in sorted(open_)}
        while open_:
            message = self._reader.poll(TIMEOUT)
            if message is None:
                raise Unavailable(f"the broker gives no record of {open_} for {TIMEOUT:.0f} s")
            place = self._place(message)
            if self._is_record(message):
                at[place] = message.offset() + 1
                read[place].append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                open_.discard(place)
        self._reader.unassign()
        # As they came to the broker, whatever the order of its answers.
        for message in merge(*read.values(), key=lambda message: message.timestamp()[1]):
            write(message)
        self._flush()
        self.next = at
        return written

    def follow(self, stop: StopRequest) -> None:
        """Judge whatever comes, from where the materializer stands on, until a stop is asked for.

        Raises Outdated if a new process has to take over, GenerationError if none can.
        """
        needed = last_needed(self.settings, self.generation.name)
        self._begin(needed[1] if needed else {})
        looked = float("-inf")
        while not stop.asked:
            for message in self._taken():
                self._write(message, self.verdict(message))
            self._flush()
            if (wanted := self.control.repeat_requested(0)) is not None:
                self._learn()
                self._begin(wanted)
            if time.monotonic() - looked > WATCH_SECONDS:
                self.world.check()
                write_status(self.settings.dataflow_status_file, "running", generation=self.generation.name)
                looked = time.monotonic()

    def verdict(self, message: Message) -> Verdict:
        """The verdict on a record; of one of an unknown schema, after a look at the registry."""
        topic, _ = self._place(message)
        found = self._judge.verdict(message, topic)
        if found.kind != "undecided":
            return found
        wanted = topic, HEADER.unpack_from(message.value())[1]
        if wanted not in self._looked_for and self._learn_of(topic):
            self._looked_for.add(wanted)
            found = self._judge.verdict(message, topic)
        return found

    def repeat_requested(self, timeout: float) -> Offsets | None:
        """What the materializer has asked for since the last call."""
        return self.control.repeat_requested(timeout)

    def close(self) -> None:
        self._reader.close()
        self.control.close()
        self.world.close()

    def _learn(self) -> None:
        """Take in the schemas that the registry lists."""
        self._known = dict(self.world.schemas())
        self._looked_for: set[tuple[str, int]] = set()
        self._judge_anew()

    def _learn_of(self, topic: str) -> bool:
        """The same of one topic; False if the registry shows none just now."""
        listed = self.world.schemas_of(topic)
        if len(listed) > len(self._known[topic]):
            self._known[topic] = listed
            self._judge_anew()
        return bool(listed)

    def _judge_anew(self) -> None:
        self._judge = Judge(self._known, self._ids, max_bytes=self.settings.max_event_bytes)

    def _begin(self, wanted: Offsets) -> None:
        first, end = source_bounds(self.settings, self.generation)
        since = starting_offsets(self.generation, wanted, first, end)
        course = plot(self.settings, self.generation, since, first)
        for place, offset in since.items():
            for message in course.messages(*place, offset, course.turn[place]):
                self._write(message, self.verdict(message))
        self._flush()
        self._assign(course.start)

    def _assign(self, offsets: Offsets) -> None:
        prefix = self.settings.topic_prefix
        self._reader.assign([TopicPartition(prefix + t, p, offset) for (t, p), offset in offsets.items()])

    def _taken(self) -> Iterator[Message]:
        first = self._reader.poll(PATIENCE)
        if first is not None:
            yield from filter(self._is_record, [first, *self._reader.consume(RUN - 1, 0)])

    def _place(self, message: Message) -> tuple[str, int]:
        return message.topic().removeprefix(self.settings.topic_prefix), message.partition()

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() != KafkaError._PARTITION_EOF and error.code() not in PASSING:
            raise Unavailable(f"topic {message.topic()} cannot be read: {error.str()}")
        return False

    def _write(self, record: Message, verdict: Verdict, *, without_letter: bool = False) -> None:
        partition, key = verdict.partition, record.key()
        if not verdict.accepted:
            letter = letter_of(record, verdict, self.generation.name, self.settings.max_event_bytes)
            self.refused[letter.key().decode()] = record, verdict
            if not without_letter:
                self._produce(partition, letter.key(), letter.value(), letter.headers())
            key = None
        self._produce(partition, key and key[:KEY_BYTES], orjson.dumps(verdict.as_json()))

    def _produce(self, partition: int, key: bytes | None, value: bytes | None, headers: Any = None) -> None:
        topic = self.generation.judged_topic(self.settings)
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _flush(self) -> None:
        if len(self._producer) and self._producer.flush(TIMEOUT):
            raise Unavailable(f"the broker took no verdicts for {TIMEOUT:.0f} s")


def plain_live_spec(settings: Settings) -> ProcessSpec:
    """The job as a process, in the place of `infra.runtime.jobs.live_spec`."""
    status = settings.state_dir / "status" / "live.json"
    status.parent.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-m", "dataflow.testing.plain_live")
    env = settings.replace(dataflow_status_file=status).environ()
    return ProcessSpec("live", command, env, settings.state_dir, (), status_file(status))


def main() -> None:
    """Until SIGTERM or SIGINT."""
    stop = StopRequest()
    stop.listen()
    settings = Settings.load()
    job = PlainLive(settings, current_generation(settings))
    try:
        job.follow(stop)
    finally:
        job.close()


if __name__ == "__main__":
    sys.exit(run_process(main))

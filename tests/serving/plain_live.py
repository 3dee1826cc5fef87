"""The live job's part in plain Python, for tests of what comes behind it: reads source topics, writes verdicts.

A few seconds faster to start than Spark, and told which verdicts to leave out. The tests under `tests/streams` hold the
real one to the same judgements.
"""

from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from infra.bootstrap import bootstrap
from infra.generation import source_bounds
from infra.kafka import Offsets, consumer
from infra.registry import schema_ids
from infra.settings import Settings
from serving.materializer.dead_letters import letter_headers
from sources.codec import EventCodec
from sources.producer import EventProducer
from streams.judge import UNKNOWN_SCHEMA
from streams.live.control import ControlReader
from tests.serving.kit import Verdict, verdict_of


class PlainLive:
    """Bootstraps the environment; `judge` writes the verdicts of what is in the source topics."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generation = bootstrap(settings)
        self.codec = EventCodec(schema_ids(settings))
        self.control = ControlReader(settings, self.generation.name)
        self.refused: dict[str, tuple[Message, Verdict]] = {}  # by topic/partition/offset
        self.next: Offsets = dict.fromkeys(self.generation.partitions(), 0)
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 5, "log_level": 2}
        )
        self._reader: Consumer = consumer(
            settings.kafka_bootstrap_servers,
            "plain-live",
            **{"enable.partition.eof": True, "fetch.wait.max.ms": 10},
        )

    def produce(self, emissions) -> None:
        """Put emissions into the source topics."""
        ids = self.codec.schema_ids
        with EventProducer(
            self.settings.kafka_bootstrap_servers, self.settings.topic_prefix, ids
        ) as producer:
            for emission in emissions:
                producer.produce_raw(emission.topic, emission.key, emission.value)

    def judge(
        self,
        start: Offsets | None = None,
        leave_out: Callable[[Verdict], bool] = lambda _: False,
        leave_out_letter: Callable[[Verdict], bool] = lambda _: False,
    ) -> int:
        """Write a verdict for every committed record from `start` (default: where it stopped) to the ends."""
        at = dict(self.next if start is None else start)
        prefix, written = self.settings.topic_prefix, 0
        _, ends = source_bounds(self.settings, self.generation)
        open_ = {place for place, offset in at.items() if offset < ends[place]}
        self._reader.assign([TopicPartition(prefix + t, p, at[t, p]) for t, p in open_])
        while open_:
            message = self._reader.poll(10)
            assert message is not None, "the broker gave no record"
            topic, partition = message.topic().removeprefix(prefix), message.partition()
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                open_.discard((topic, partition))
                continue
            verdict = verdict_of(topic, message, self.codec)
            if verdict.get("r") == [UNKNOWN_SCHEMA]:
                verdict["v"] = "u"
            if verdict["v"] != "a":
                self.refused[f"{topic}/{partition}/{message.offset()}"] = message, verdict
            at[topic, partition] = message.offset() + 1
            if not leave_out(verdict):
                if verdict["v"] != "a" and not leave_out_letter(verdict):
                    self._write_letter(message, verdict)
                self._write(partition, orjson.dumps(verdict))
                written += 1
        self._reader.unassign()
        if self._producer.flush(30):
            raise TimeoutError("the broker took no verdicts")
        self.next = at
        return written

    def repeat_requested(self, timeout: float) -> Offsets | None:
        """What the materializer has asked for since the last call."""
        return self.control.repeat_requested(timeout)

    def close(self) -> None:
        self._reader.close()
        self.control.close()

    def _write_letter(self, record: Message, verdict: Verdict) -> None:
        topic, p, o = verdict["t"], verdict["p"], verdict["o"]
        headers = letter_headers(record, topic, ",".join(verdict["r"]), self.generation.name)
        self._write(p, record.value(), f"{topic}/{p}/{o}", headers)

    def _write(
        self, partition: int, value: bytes | None, key: str | None = None, headers: Any = None
    ) -> None:
        topic = self.generation.judged_topic(self.settings)
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)
                return
            except BufferError:
                self._producer.poll(0.1)

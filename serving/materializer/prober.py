"""Looks into the source topics: whether offsets between two verdicts are empty, and what a record was.

Transaction markers and aborted records take offsets that no read_committed reader ever sees. Only the broker can tell
such a gap from a hole.
"""

import time

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from infra.kafka import consumer
from infra.settings import Settings
from schemas.errors import Unavailable

TIMEOUT = 15.0


class Prober:
    """Reads single committed records of the source topics; keeps no position."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.topic_prefix
        self._consumer: Consumer = consumer(
            settings.kafka_bootstrap_servers,
            f"{self._prefix}prober",
            **{"enable.partition.eof": True, "fetch.wait.max.ms": 10, "queued.max.messages.kbytes": 1_024},
        )

    def next_record(self, topic: str, partition: int, offset: int, end: int) -> Message | None:
        """The first committed record at or behind `offset`; None if there is none below `end`, the committed end.

        A broker that has just become the leader may report an end below `end`: that is waited out.
        Raises Unavailable if the broker does not say within 15 s, or no longer has the offset.
        """
        place = TopicPartition(self._prefix + topic, partition, offset)
        self._consumer.assign([place])
        deadline = time.monotonic() + TIMEOUT
        try:
            while time.monotonic() < deadline:
                message = self._consumer.poll(0.5)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    return message
                if error.code() == KafkaError._PARTITION_EOF:
                    if message.offset() >= end:
                        return None
                    continue
                if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                    raise Unavailable(
                        f"topic {topic}, partition {partition} has no offset {offset}: {error.str()}"
                    )
            raise Unavailable(f"topic {topic}, partition {partition} could not be read at offset {offset}")
        finally:
            self._consumer.unassign()

    def record(self, topic: str, partition: int, offset: int) -> Message:
        """The committed record at exactly `offset`. Raises Unavailable if there is none."""
        found = self.next_record(topic, partition, offset, offset + 1)
        if found is None or found.offset() != offset:
            raise Unavailable(f"topic {topic}, partition {partition} should hold a record at offset {offset}")
        return found

    def close(self) -> None:
        self._consumer.close()

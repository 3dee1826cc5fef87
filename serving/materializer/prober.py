"""Looks into the source topics: whether offsets between two verdicts are empty, and what a record was.

Transaction markers and aborted records take offsets that no read_committed reader ever sees. Only the broker can tell
such a gap from a hole, and bronze where the broker has lost what was there.
"""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.kafka import consumer
from infra.settings import Settings
from schemas.errors import Unavailable
from serving.materializer.archived import Archived

TIMEOUT = 15.0
KNOWN_SECONDS = 300.0  # the client forgets after 15 minutes
# One record is wanted, of a batch that comes whole however large it is. A fetch that waits, or fetches more than that,
# holds up the next probe: by a second where the client believes to have fetched enough.
PROBING = {
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 2,
    "fetch.message.max.bytes": 65_536,
    "fetch.queue.backoff.ms": 1,
    "queued.min.messages": 1,
    "queued.max.messages.kbytes": 1_024,
}


class Prober:
    """Reads single committed records of the source topics; keeps no position. `archived` is read before them."""

    def __init__(self, settings: Settings) -> None:
        self.archived: Archived | None = None
        self._prefix = settings.topic_prefix
        self._consumer: Consumer = consumer(
            settings.kafka_bootstrap_servers,
            f"{self._prefix}prober",
            **PROBING,
        )
        self._known = float("-inf")  # when the client learned of all topics

    def next_offset(self, topic: str, partition: int, offset: int, end: int) -> int | None:
        """Offset of the first committed record at or behind `offset`; None if there is none below `end`.

        Raises Unavailable.
        """
        if self.archived is not None:
            found, offset = self.archived.next_offset(topic, partition, offset, end)
            if found is not None or offset > end:
                return found
        record = self._next_record(topic, partition, offset, end)
        return None if record is None else record.offset()

    def time_of_next(self, topic: str, partition: int, offset: int, end: int) -> int | None:
        """When (ms) the broker took the first committed record at or behind `offset`; None if there is none.

        Raises Unavailable, also if the broker no longer has the offset.
        """
        record = self._next_record(topic, partition, offset, end)
        return None if record is None else record.timestamp()[1]

    def _next_record(self, topic: str, partition: int, offset: int, end: int) -> Message | None:
        """The first committed record at or behind `offset`; None if there is none below `end`, the committed end.

        A broker that has just become the leader may report an end below `end`: that is waited out.
        Raises Unavailable if the broker does not say within 15 s, or no longer has the offset.
        """
        place = TopicPartition(self._prefix + topic, partition, offset)
        deadline = time.monotonic() + TIMEOUT
        self._know_topics()
        self._consumer.assign([place])
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

    def _know_topics(self) -> None:
        """A topic that the client has not heard of lately costs it a second, one by one; all at once a few ms."""
        if time.monotonic() - self._known < KNOWN_SECONDS:
            return
        try:
            self._consumer.list_topics(timeout=TIMEOUT)
        except KafkaException as error:
            raise Unavailable(f"the broker does not list its topics: {error.args[0].str()}") from error
        self._known = time.monotonic()

    def record(self, topic: str, partition: int, offset: int) -> Message:
        """The committed record at exactly `offset`. Raises Unavailable if there is none."""
        if self.archived is not None and (found := self.archived.record(topic, partition, offset)):
            return found
        found = self._next_record(topic, partition, offset, offset + 1)
        if found is None or found.offset() != offset:
            raise Unavailable(f"topic {topic}, partition {partition} should hold a record at offset {offset}")
        return found

    def close(self) -> None:
        self._consumer.close()

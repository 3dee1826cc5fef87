"""Reads the judged topic from positions that the caller keeps; commits nothing to Kafka."""

from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from infra.kafka import CONFIRM_SECONDS, admin, consumer, identities, log_bounds, offsets_at
from infra.settings import Settings
from schemas.errors import GenerationError, Unavailable

# What librdkafka mends by itself, with back-off.
PASSING = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
}
GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


class JudgedReader:
    """A consumer of all partitions of one judged topic."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.topic = topic
        self._admin = admin(settings.kafka_bootstrap_servers)
        found = identities(self._admin, [topic], CONFIRM_SECONDS).get(topic)
        if found is None:
            raise GenerationError(
                f"topic {topic} is gone: `dataflow generation new` starts over with a new one"
            )
        self.partitions = found.partitions
        self._consumer: Consumer = consumer(
            settings.kafka_bootstrap_servers,
            f"{topic}-materializer",
            **{"fetch.wait.max.ms": 100, "queued.max.messages.kbytes": 32_768, "check.crcs": True},
        )

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read on from `positions`; a partition without one from its beginning."""
        self._consumer.assign(
            [
                TopicPartition(self.topic, p, positions.get(p, OFFSET_BEGINNING))
                for p in range(self.partitions)
            ]
        )

    def bounds(self) -> tuple[dict[int, int], dict[int, int]]:
        """Where each partition begins and ends."""
        found = log_bounds(self._admin, [(self.topic, p) for p in range(self.partitions)])
        first, ends = ({p: offset for (_, p), offset in each.items()} for each in found)
        return first, ends

    def positions_at(self, time_ms: int) -> dict[int, int]:
        """The first record of each partition that the broker took at this time or later; its end if there is none."""
        _, ends = self.bounds()
        found = offsets_at(self._admin, [(self.topic, p) for p in range(self.partitions)], time_ms)
        return {p: offset if offset >= 0 else ends[p] for (_, p), offset in found.items()}

    def take(self, limit: int, timeout: float) -> list[Message]:
        """Up to `limit` records: waits at most `timeout` seconds for the first, not at all for more."""
        first = self._consumer.poll(timeout)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(limit - 1, 0)]
        return [message for message in messages if not self._handled(message)]

    def close(self) -> None:
        self._consumer.close()

    def _handled(self, message: Message) -> bool:
        """Whether this is no record but an error, which is then dealt with."""
        error = message.error()
        if error is None:
            return False
        if error.code() in GONE:
            # Older verdicts have aged out: what is missing shows as a hole, and is judged again.
            self._consumer.seek(TopicPartition(self.topic, message.partition(), OFFSET_BEGINNING))
        elif error.code() not in PASSING:
            raise Unavailable(f"topic {self.topic} cannot be read: {error.str()}")
        return True

"""Refusals that only the fold can decide (version conflicts) go to the dead letters, in the live job's own form."""

from collections.abc import Iterable

from confluent_kafka import KafkaError, Message, Producer

from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import DEAD_LETTER

TIMEOUT = 15.0


class DeadLetters:
    """Writes `<env>.events.dead_letter`. A repeat has the same key, `topic/partition/offset`."""

    def __init__(self, settings: Settings, generation: str) -> None:
        self._topic = settings.topic_prefix + DEAD_LETTER
        self._prefix, self._generation = settings.topic_prefix, generation
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 0,
                "log_level": 2,
            }
        )

    def write(self, refused: Iterable[Message], reason: str) -> None:
        """Returns when the broker has them all. Raises Unavailable otherwise."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        for message in refused:
            topic = message.topic().removeprefix(self._prefix)
            at = f"{topic}/{message.partition()}/{message.offset()}"
            self._producer.produce(
                self._topic,
                message.value(),
                at.encode(),
                partition=message.partition(),
                headers=self._headers(message, topic, reason),
                on_delivery=delivered,
            )
        left = self._producer.flush(TIMEOUT)
        if left or failures:
            raise Unavailable(
                f"dead letters were not delivered: {failures[0].str() if failures else 'no answer'}"
            )

    def _headers(self, message: Message, topic: str, reason: str) -> list[tuple[str, bytes]]:
        size = len(message.value() or b"") + len(message.key() or b"")
        texts = {
            "source_topic": topic,
            "source_partition": message.partition(),
            "source_offset": message.offset(),
            "reasons": reason,
            "kafka_time": message.timestamp()[1] * 1000,
            "generation": self._generation,
            "size": size,
            "truncated": "false",
            "null_value": "false",
        }
        return [(n, str(v).encode()) for n, v in texts.items()] + [("source_key", message.key())]

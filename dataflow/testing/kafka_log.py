"""The source topics of an environment as a log to put records into; it says where each of them came to be."""

from collections.abc import Sequence
from functools import partial

from confluent_kafka import KafkaError, Message, Producer

from dataflow.testing.records import Place, Raw
from infra.settings import Settings
from schemas.errors import Unavailable

TIMEOUT = 30.0


class KafkaLog:
    """Appends to `<prefix><topic>`, each key to the partition that every other producer of DataFlow takes for it."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.topic_prefix
        self._bootstrap = settings.kafka_bootstrap_servers
        self._producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": 1,
                "message.max.bytes": 100_000_000,  # the broker decides
                "log_level": 2,
            }
        )

    def put(self, records: Sequence[Raw]) -> list[Place]:
        """Append records; returns when the broker has them all. Raises Unavailable if it does not take one."""
        places: list[Place | None] = [None] * len(records)
        failures: list[KafkaError] = []

        def delivered(number: int, error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)
            else:
                places[number] = Place(records[number].topic, message.partition(), message.offset())

        for number, record in enumerate(records):
            name = self._prefix + record.topic
            while True:
                try:
                    self._producer.produce(
                        name, record.value, record.key, on_delivery=partial(delivered, number)
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
        left = self._producer.flush(TIMEOUT)
        if left or failures:
            raise Unavailable(
                f"{len(failures) + left} records were not taken by the broker at {self._bootstrap}: "
                f"{failures[0].str() if failures else f'no answer within {TIMEOUT:.0f} s'}"
            )
        return [place for place in places if place is not None]

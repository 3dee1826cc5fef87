"""The source topics of an environment as a log to put records into; it says where each of them came to be."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message, Producer

from dataflow.testing.clock import Clock
from dataflow.testing.records import Place, Raw
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.validate import micros

TIMEOUT = 30.0


class KafkaLog:
    """Appends to `<prefix><topic>`, each key to the partition that every other producer of DataFlow takes for it.

    A record without a key goes to the first one: to any, a history would not be the same again. With a `clock`, records
    are stamped with its time, which topics show that keep a producer's (`CreateTime`).
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._clock = clock
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

    def put(self, records: Sequence[Raw], times: Sequence[datetime] = ()) -> list[Place]:
        """Append records; returns when the broker has them all. Raises Unavailable if it does not take one.

        `times` are what they are stamped with, one each, if not with the clock's.
        """
        if not times and self._clock is not None:
            times = [self._clock.now()] * len(records)
        places: list[Place | None] = [None] * len(records)
        failures: list[str] = []

        def delivered(number: int, error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error.str())
            elif times and message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME:
                failures.append(f"{message.topic()} has the broker's own time, and not the one it was given")
            else:
                places[number] = Place(records[number].topic, message.partition(), message.offset())

        for number, record in enumerate(records):
            name = self._prefix + record.topic
            given: dict[str, int] = {} if record.key is not None else {"partition": 0}
            if times:
                given["timestamp"] = -(-micros(times[number]) // 1000)  # never before it happened
            while True:
                try:
                    self._producer.produce(
                        name, record.value, record.key, on_delivery=partial(delivered, number), **given
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
        left = self._producer.flush(TIMEOUT)
        if left or failures:
            raise Unavailable(
                f"{len(failures) + left} records were not taken by the broker at {self._bootstrap}: "
                f"{failures[0] if failures else f'no answer within {TIMEOUT:.0f} s'}"
            )
        return [place for place in places if place is not None]

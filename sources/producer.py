"""Events into Kafka: one idempotent producer for the generator, the file import and the tools.

Writes the topics of one environment. Every record either reaches all in-sync replicas or raises `Unavailable` (or
`EventError` for one that is too large); nothing is dropped silently.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import EventError, Unavailable
from sources.codec import EventCodec

Headers = Iterable[tuple[str, bytes | str]] | None
Delivered = Callable[[str, int, int], None]

QUEUE_RECORDS = 100_000
QUEUE_KIB = 65_536
FLUSH_SECONDS = 60.0
POLL_EVERY = 256  # records between two looks at what came back


class EventProducer:
    """Produces to the topics `<prefix><topic>`.

    `schema_ids` are the registry's ids by topic. `on_delivered(topic, partition, offset)` is called for each record
    that the broker has, from within `produce`, `produce_raw` and `flush`; without it only failures are reported back,
    which is cheaper. The partitioner is Java's default, so that whoever writes a key writes it to the same partition.
    """

    def __init__(
        self,
        bootstrap: str,
        prefix: str,
        schema_ids: Mapping[str, int],
        *,
        on_delivered: Delivered | None = None,
        compression: Literal["none", "lz4"] = "lz4",
        linger_ms: float = 5,
        delivery_seconds: float = 30,
    ) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.codec = EventCodec(schema_ids)
        self.delivery_seconds = delivery_seconds
        self._on_delivered = on_delivered
        self._failures: list[tuple[str, KafkaError]] = []
        self._failed = 0
        self._since_poll = 0
        self._fatal: KafkaError | None = None
        self._connection: KafkaError | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": compression,
                "linger.ms": linger_ms,
                "delivery.timeout.ms": int(delivery_seconds * 1000),
                "queue.buffering.max.messages": QUEUE_RECORDS,
                "queue.buffering.max.kbytes": QUEUE_KIB,
                "delivery.report.only.error": on_delivered is None,
                "on_delivery": self._report,
                "error_cb": self._error,
                # what goes wrong is raised, with the last error of a connection, and not also printed
                "log_level": 2,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ):
        # After an error there is one to tell already; what was queued before it is still sent.
        self.flush() if error is None else self._producer.flush(self.delivery_seconds)

    def produce(self, topic: str, event: Mapping[str, Any]) -> None:
        """Encode an event that fits its contract and queue it. Raises EventError if it cannot be encoded."""
        key, value = self.codec.encode(topic, event)
        self.produce_raw(topic, key, value)

    def produce_raw(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = None
    ) -> None:
        """Queue a record as it is. Waits while the queue is full.

        Raises Unavailable for records that could not be delivered since the last call, and when the queue stays full
        for `delivery_seconds`; EventError (`too_large`) if the client refuses the record for its size.
        """
        self._since_poll += 1
        if self._since_poll >= POLL_EVERY:
            self._since_poll = 0
            self._producer.poll(0)
        if self._failures or self._fatal:
            self._raise_failures()
        name = self.prefix + topic
        extra = {"headers": list(headers)} if headers is not None else {}
        deadline = None
        while True:
            try:
                self._producer.produce(name, value, key, **extra)
                return
            except BufferError:
                deadline = deadline or time.monotonic() + self.delivery_seconds
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"the broker at {self.bootstrap} took nothing for {self.delivery_seconds:.0f} s and "
                        f"{len(self._producer):,} records wait{self._because()}: look at the broker, then produce again"
                    ) from None
                self._producer.poll(0.05)
            except KafkaException as error:
                self._refused(topic, error.args[0], len(value or b""))
            if self._failures or self._fatal:
                self._raise_failures()

    def poll(self) -> None:
        """Take in delivery reports now, for a caller that produces seldom. Raises Unavailable for failures."""
        self._producer.poll(0)
        self._raise_failures()

    def flush(self, timeout: float = FLUSH_SECONDS) -> None:
        """Wait until every queued record is delivered. Raises Unavailable for what was not within `timeout` seconds."""
        left = self._producer.flush(timeout)
        self._raise_failures()
        if left:
            raise Unavailable(
                f"{left:,} records did not reach the broker at {self.bootstrap} within {timeout:.0f} s"
                f"{self._because()}; they are lost to this run: look at the broker, then produce again"
            )

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed += 1
            if len(self._failures) < 10:
                self._failures.append((message.topic(), error))
        elif self._on_delivered is not None:
            self._on_delivered(
                message.topic().removeprefix(self.prefix), message.partition(), message.offset()
            )

    def _error(self, error: KafkaError) -> None:
        # Lost connections are the client's to mend; delivery.timeout.ms bounds them.
        if error.fatal():
            self._fatal = error
        else:
            self._connection = error

    def _because(self) -> str:
        return f"; last error: {self._connection.str()}" if self._connection else ""

    def _refused(self, topic: str, error: KafkaError, size: int) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise EventError(
                "too_large", f"{topic}: a record of {size:,} bytes is more than the producer may send"
            )
        raise Unavailable(f"the producer refuses a record for {self.prefix}{topic}: {error.str()}")

    def _raise_failures(self) -> None:
        if self._fatal:
            raise Unavailable(f"the producer can no longer keep its order and stops: {self._fatal.str()}")
        if not self._failures:
            return
        failures, failed = self._failures, self._failed
        self._failures, self._failed = [], 0
        topic, error = failures[0]
        raise Unavailable(
            f"{failed:,} records were not delivered; the first, for {topic}: {error.str()} (broker {self.bootstrap}"
            f"{self._because()}). Look at the broker, then produce again; what was delivered counts once."
        )


class Pacer:
    """An even, open-loop schedule: turn `i` is due at start + i / rate, whatever the earlier ones took.

    So a slow moment is caught up and the rate holds on average; a delay of more than `forgiven_after` seconds (a laptop
    that slept) is not. `rate` 0 means as fast as possible.
    """

    # Shorter naps cost more than they make smoother.
    SHORTEST_NAP = 0.001

    def __init__(
        self,
        rate: float,
        *,
        forgiven_after: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.rate = rate
        self._forgiven_after = forgiven_after
        self._clock = clock
        self._sleep = sleep
        self._start = clock()
        self._turn = 0

    def wait(self) -> None:
        """Return when the next turn is due."""
        if not self.rate:
            return
        ahead = self._start + self._turn / self.rate - self._clock()
        self._turn += 1
        if ahead >= self.SHORTEST_NAP:
            self._sleep(ahead)
        elif -ahead > self._forgiven_after:
            self._start -= ahead

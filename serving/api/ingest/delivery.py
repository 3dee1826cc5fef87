"""Records to Kafka from asyncio: queue any number, wait until the broker has each, or has not.

`sources.producer` serves loads that go through once; here each record's own fate is asked for. Writes source topics.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

LINGER_MS = 2
DELIVERY_SECONDS = 10.0
# librdkafka looks once a second for records whose time is up.
REPORT_SECONDS = 2.0
FULL_PAUSE = 0.005
QUEUE_RECORDS = 100_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivered:
    """Where the broker put a record."""

    partition: int
    offset: int


@dataclass(frozen=True)
class Undelivered:
    """Why the broker has not got a record, as far as the client knows. `too_large`: trying again does not help."""

    reason: str
    too_large: bool = False


Fate = Delivered | Undelivered


class _Batch:
    """The records of one request; done when each has its fate. Filled by the producer's thread."""

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self.fates: list[Fate | None] = [None] * size
        self.done: asyncio.Future[None] = loop.create_future()
        self._left = size
        self._lock = threading.Lock()
        self._loop = loop

    def settle(self, n: int, fate: Fate) -> None:
        with self._lock:
            self.fates[n] = fate
            self._left -= 1
            finished = self._left == 0
        if finished:
            self._loop.call_soon_threadsafe(self._finish)

    def settled(self, otherwise: Fate) -> list[Fate]:
        """The fates so far; `otherwise` for records that have none. Later ones change nothing."""
        with self._lock:
            return [otherwise if fate is None else fate for fate in self.fates]

    def _finish(self) -> None:
        # Who waited may have gone.
        if not self.done.done():
            self.done.set_result(None)


class Deliveries:
    """An idempotent producer and the thread that takes in its reports."""

    def __init__(self, bootstrap: str, prefix: str, delivery_seconds: float = DELIVERY_SECONDS) -> None:
        self._prefix, self._seconds = prefix, delivery_seconds
        self._config = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            # Java's default: whoever writes a key writes it to the same partition.
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": LINGER_MS,
            "delivery.timeout.ms": int(delivery_seconds * 1000),
            "queue.buffering.max.messages": QUEUE_RECORDS,
            "log_level": 2,
        }
        self._producer: Producer | None = None
        self._lost = threading.Event()  # the producer had a fatal error
        self._last_error = ""
        self._stopped = threading.Event()

    def start(self) -> None:
        self._renew()
        threading.Thread(target=self._poll, name="ingest-reports", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    async def deliver(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> list[Fate]:
        """The fate of each (key, value), in their order, soon after `delivery_seconds` at the latest."""
        if not records:
            return []
        if self._lost.is_set():
            # An idempotent producer that lost its order is of no use any more; a new one begins a new sequence.
            old = self._producer
            self._renew()
            # Other requests wait for what the old one still has to report.
            flush = partial(old.flush, self._seconds + REPORT_SECONDS)
            threading.Thread(target=flush, name="ingest-last-reports", daemon=True).start()
        producer, batch = self._producer, _Batch(len(records), asyncio.get_running_loop())
        deadline = time.monotonic() + self._seconds
        for n, (key, value) in enumerate(records):
            report = _report(batch, n)
            while True:
                try:
                    producer.produce(self._prefix + topic, value, key, on_delivery=report)
                except BufferError:
                    if time.monotonic() < deadline:
                        await asyncio.sleep(FULL_PAUSE)
                        continue
                    batch.settle(n, Undelivered(f"the broker takes nothing{self._because()}"))
                except KafkaException as error:
                    batch.settle(n, _undelivered(error.args[0], self._because()))
                break
        unknown = Undelivered("timed out: the Kafka client reported nothing")
        try:
            async with asyncio.timeout(self._seconds + REPORT_SECONDS):
                await batch.done
        except TimeoutError:
            log.warning("the Kafka client has not reported all of %d records in time", len(records))
        return [
            Undelivered(fate.reason + self._because()) if _is_vague(fate) else fate
            for fate in batch.settled(unknown)
        ]

    def _renew(self) -> None:
        # Each producer has its own flag: the last words of an old one are not about the new one.
        lost = threading.Event()
        producer = Producer({**self._config, "error_cb": partial(self._error, lost)})
        self._lost, self._producer = lost, producer

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._producer.poll(0.1)

    def _error(self, lost: threading.Event, error: KafkaError) -> None:
        self._last_error = error.str()
        if error.fatal():
            lost.set()

    def _because(self) -> str:
        return f"; last error: {self._last_error}" if self._last_error else ""


def _report(batch: _Batch, n: int):
    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is None:
            batch.settle(n, Delivered(message.partition(), message.offset()))
        else:
            batch.settle(n, _undelivered(error))

    return on_delivery


def _undelivered(error: KafkaError, because: str = "") -> Undelivered:
    return Undelivered(error.str() + because, error.code() == KafkaError.MSG_SIZE_TOO_LARGE)


def _is_vague(fate: Fate | None) -> bool:
    """Whether librdkafka only said that time was up."""
    return isinstance(fate, Undelivered) and "timed out" in fate.reason.lower()

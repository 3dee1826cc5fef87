"""The load: records of the made-up shop, made before the measurement and kept in a file, produced open-loop at a rate.

Runs in a worker. Writes the source topics; returns when each record was handed to the producer and where it went.
"""

import pickle
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from infra.registry import schema_ids
from infra.settings import Settings
from sources.generator import Dials, ShopSimulator
from sources.producer import Pacer
from tests.bench.figures import Produced
from tests.bench.workers import BenchError, Inside, Worker

Record = tuple[str, bytes | None, bytes | None]
CHUNK = 2_000  # records: loading more at once would hold up the next one
DELIVERY_SECONDS = 180


def prepare(settings: Settings, file: Path, count: int, rate: float, seed: int, timeout: float = 900) -> Path:
    """Write `count` records of the demo mix to `file`, as they would come at `rate` a second from now on."""
    with Worker(write_records, settings, file, count, rate, seed) as worker:
        worker.result(timeout)
    return file


def write_records(inside: Inside, settings: Settings, file: Path, count: int, rate: float, seed: int) -> None:
    inside.ready()
    start = datetime.now(UTC)
    simulator = ShopSimulator(seed, start, schema_ids(settings), Dials(), live=True)
    step = timedelta(seconds=1 / (rate or 10_000))
    emissions = simulator.emissions(start + n * step for n in range(count))
    with file.open("wb") as out:
        while chunk := [(e.topic, e.key, e.value) for e in islice(emissions, CHUNK)]:
            pickle.dump(chunk, out, 5)


def read_records(file: Path) -> Iterator[Record]:
    """The records of a file."""
    with file.open("rb") as source:
        while True:
            try:
                yield from pickle.load(source)
            except EOFError:
                return


def produce(
    inside: Inside, settings: Settings, file: Path, rate: float, linger_ms: float, log: bool
) -> dict[str, Any]:
    """Produce the file's records at `rate` a second (0: as fast as the broker takes them) until its end, or stopped.

    Shows how many the broker has acknowledged. Returns begin, end, count and, if `log`, all `Produced`.
    """
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": linger_ms,
            "delivery.timeout.ms": DELIVERY_SECONDS * 1000,
            "queue.buffering.max.messages": 500_000,
            "log_level": 2,
        }
    )
    delivered: list[tuple[float, str, int, int]] = []
    acknowledged = 0

    def done(at: float, error: KafkaError | None, message: Message) -> None:
        nonlocal acknowledged
        if error is not None:
            raise BenchError(f"a record of the load was not delivered: {error.str()}")
        acknowledged += 1
        if log:
            delivered.append((at, message.topic(), message.partition(), message.offset()))

    def nap(seconds: float) -> None:
        until = time.monotonic() + seconds
        inside.show(acknowledged)
        while (left := until - time.monotonic()) > 0:
            producer.poll(left)

    prefix, count = settings.topic_prefix, 0
    records = read_records(file)
    first = next(records)
    # Metadata and the producer's id cost some 100 ms, which no record shall wait for.
    producer.list_topics(timeout=15)
    inside.ready()
    pacer, began = Pacer(rate, sleep=nap), time.monotonic()
    for topic, key, value in _chain(first, records):
        pacer.wait()
        if count % 64 == 0:
            producer.poll(0)
            inside.show(acknowledged)
            if inside.stopped():
                break
        at = time.monotonic()
        while True:
            try:
                producer.produce(prefix + topic, value, key, on_delivery=partial(done, at))
                break
            except BufferError:
                producer.poll(0.01)
        count += 1
    if left := producer.flush(DELIVERY_SECONDS):
        raise BenchError(f"{left:,} records of the load did not reach the broker")
    ended = time.monotonic()
    inside.show(acknowledged)
    found = [Produced(at, topic.removeprefix(prefix), p, o) for at, topic, p, o in delivered]
    return {"began": began, "ended": ended, "count": count, "log": found}


def _chain(first: Record, rest: Iterator[Record]) -> Iterator[Record]:
    yield first
    yield from rest

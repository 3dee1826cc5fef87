"""A source topic written again from bronze: the same records in the same partitions and order, under another name.

Key, value and headers are the same bytes, and the time is that at which the broker took the original, so every rule
says of a record what it said then. Offsets begin at 0 and have no gaps. Reads `raw_<topic>` at one manifest; creates
and writes one Kafka topic.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

from confluent_kafka import KafkaError, Message, Producer

from infra.kafka import admin, ensure_topics, identities, log_bounds
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import DataflowError, Terminal, Unavailable
from schemas.tables import bronze
from schemas.topics import TOPICS, Topic
from serving.lake.reader import Lake
from serving.lake.views import quoted
from streams.lake.manifest import Manifest
from streams.windows import size_of, windows

TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
# Offsets, and bytes, of which the records are in memory at a time.
WINDOW, WINDOW_BYTES = 20_000, 32_000_000
FETCH = 100  # rows
BOUNDS = {"memory_limit": "1GB", "threads": 1}
QUEUE_KIB = 65_536
LARGEST_RECORD = 100_000_000  # bytes: what the broker takes decides, not the client
FLUSH_SECONDS = 120.0

Record = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


class NotRebuilt(DataflowError, Terminal):
    """The topic cannot be written again; the message says why."""


@dataclass(frozen=True)
class Rebuilt:
    """What was written: the topic's full name, and how many records each partition got."""

    name: str
    records: dict[int, int]

    @property
    def total(self) -> int:
        return sum(self.records.values())


def rebuild_topic(settings: Settings, lake: Lake, manifest: Manifest, topic: str, name: str) -> Rebuilt:
    """Write every record of source topic `topic` that the manifest has to a new topic of the full name `name`.

    Raises NotRebuilt if there is nothing to write or the name is taken, Unavailable if the broker does not take it all:
    then a part of it is there, and has to be deleted before it is tried again.
    """
    partitions = sorted(p for of, p in manifest.until if of == topic)
    if topic not in CONTRACTS or not partitions:
        known = ", ".join(sorted({of for of, _ in manifest.until}))
        raise NotRebuilt(
            f"expected a topic that the lake has records of ({known or 'none yet'}), saw {topic!r}"
        )
    if not TOPIC_NAME.fullmatch(name):
        raise NotRebuilt(
            f"expected a topic's name (letters, digits, '.', '_' and '-', 249 at most), saw {name!r}"
        )
    client = admin(settings.kafka_bootstrap_servers)
    if identities(client, [name]):
        raise NotRebuilt(
            f"expected a topic {name!r} that does not exist, and it does: choose another name, or delete it first"
        )
    # The broker would stamp its own time otherwise.
    config = {**TOPICS[topic].config, "message.timestamp.type": "CreateTime"}
    declared = Topic(name, f"{topic}, written again from the lake.", config)
    ensure_topics(client, {name: declared}, partitions[-1] + 1, settings.kafka_replication_factor)
    writer = _Writer(settings, name)
    for partition in partitions:
        for record in _records(lake, manifest, topic, partition):
            writer.write(partition, record)
    writer.finish()
    _, ends = log_bounds(client, [(name, partition) for partition in partitions])
    written = {partition: ends[name, partition] for partition in partitions}
    if written != {partition: writer.records.get(partition, 0) for partition in partitions}:
        raise Unavailable(
            f"expected {writer.records} records by partition in {name}, saw {written}: somebody else writes to it; "
            "delete it and choose another name"
        )
    return Rebuilt(name, written)


def _records(lake: Lake, manifest: Manifest, topic: str, partition: int) -> Iterator[Record]:
    """A partition's records in the order of their offsets."""
    table, until = bronze(CONTRACTS[topic]), manifest.until[topic, partition]
    with lake.open(manifest, table, BOUNDS) as sql:

        def read(first: int, end: int) -> Iterator[tuple]:
            # DuckDB would hold all of them to put them in order.
            rows = sql.execute(
                f'SELECT "offset", epoch_ms(kafka_time), key, value, headers FROM {quoted(table.name)} '
                'WHERE partition = ? AND "offset" >= ? AND "offset" < ?',
                [partition, first, end],
            )
            while some := rows.fetchmany(FETCH):
                yield from some

        [first] = sql.execute(
            f'SELECT min("offset") FROM {quoted(table.name)} WHERE partition = ?', [partition]
        ).fetchone()
        start = until if first is None else first
        for rows in windows(read, size_of, start, until, offsets=WINDOW, at_most=WINDOW_BYTES):
            for _, at, key, value, headers in sorted(rows, key=itemgetter(0)):
                yield at, key, value, [(each["key"], each["value"]) for each in headers or ()]


class _Writer:
    """One producer; counts what the broker has by partition."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name, self.records = name, dict[int, int]()
        self._failure: KafkaError | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 20,
                "message.max.bytes": LARGEST_RECORD,
                "queue.buffering.max.kbytes": QUEUE_KIB,
                "on_delivery": self._delivered,
                "log_level": 3,
            }
        )

    def write(self, partition: int, record: Record) -> None:
        """Queue a record; waits while the queue is full. Raises Unavailable for one that was not taken."""
        at, key, value, headers = record
        while True:
            try:
                self._producer.produce(self.name, value, key, partition, timestamp=at, headers=headers)
                break
            except BufferError:
                self._producer.poll(0.1)
            self._check()
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait until the broker has everything. Raises Unavailable."""
        left = self._producer.flush(FLUSH_SECONDS)
        self._check()
        if left:
            raise self._unavailable(f"{left:,} records are not taken after {FLUSH_SECONDS:.0f} s")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failure = self._failure or error
        else:
            self.records[message.partition()] = self.records.get(message.partition(), 0) + 1

    def _check(self) -> None:
        if self._failure is not None:
            raise self._unavailable(self._failure.str())

    def _unavailable(self, what: str) -> Unavailable:
        return Unavailable(
            f"topic {self.name} is written in part only: {what}. Look at the broker, delete the topic, then try again"
        )

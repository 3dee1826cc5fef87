"""What the tests of aged-out topics share: records around a seam, their end in Kafka, a generation that needs bronze.

Bronze is filled by the lake job where that is what a test is about, else by this, as that job would.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import polars as pl
from confluent_kafka import Message, Producer, TopicPartition

from infra.failpoints import Failpoints
from infra.generation import begin_generation, source_bounds
from infra.generations import Generation, change_generations
from infra.kafka import Offsets, admin
from infra.read_topic import read_topic
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.tables import bronze
from sources.generator import Emission
from streams.archive import archive_of
from streams.lake.frames import frame_schema
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root
from streams.lake.store import LakeStore

At = tuple[str, int]


def produce(settings: Settings, emissions: Sequence[Emission], seed: int) -> None:
    """Each once, in transactions and outside of any; between them records that are aborted."""
    chance, left = random.Random(seed), list(emissions)
    plain = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    name = f"{settings.topic_prefix}tests-{seed}"
    transactional = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap_servers, "transactional.id": name}
    )
    transactional.init_transactions(60)

    def put(producer: Producer, run: Iterable[Emission]) -> None:
        for each in run:
            # One partition a key, whoever produces it.
            partition = sum(each.key or b"") % settings.kafka_partitions
            producer.produce(settings.topic_prefix + each.topic, each.value, each.key, partition)
        assert producer.flush(60) == 0

    while left:
        size = chance.randint(1, 200)
        run, left = left[:size], left[size:]
        if chance.random() < 0.4:
            put(plain, run)
            continue
        transactional.begin_transaction()
        put(transactional, run)
        transactional.commit_transaction(60)
        if chance.random() < 0.5:
            transactional.begin_transaction()
            put(transactional, run[:20])
            transactional.abort_transaction(60)


def records(settings: Settings) -> dict[At, dict[int, Message]]:
    """All committed records that Kafka holds now, by source partition and offset."""
    found: dict[At, dict[int, Message]] = defaultdict(dict)
    for topic in CONTRACTS:
        for message in read_topic(settings.kafka_bootstrap_servers, settings.topic_prefix + topic):
            found[topic, message.partition()][message.offset()] = message
    return found


def cuts(ends: Offsets, seed: int) -> Offsets:
    """Where Kafka shall begin: of some partitions at 0, of some anywhere, of some at the end. None is left out."""
    chance = random.Random(seed)
    ways = ("nothing", "some", "everything")
    found = {}
    for n, (at, end) in enumerate(sorted(ends.items())):
        way = ways[(n + n // 3) % 3]
        found[at] = {"nothing": 0, "some": chance.randint(end // 4, 3 * end // 4), "everything": end}[way]
    return found


def age_out(settings: Settings, before: Mapping[At, int]) -> None:
    """Delete the records before these offsets."""
    wanted = [
        TopicPartition(settings.topic_prefix + topic, p, offset)
        for (topic, p), offset in before.items()
        if offset
    ]
    client = admin(settings.kafka_bootstrap_servers)
    for done in client.delete_records(wanted, request_timeout=60, operation_timeout=60).values():
        done.result(90)


def begin(settings: Settings, base: Generation) -> Generation:
    """A generation beside `base` that is completed from its bronze, recorded as a replay records it."""

    def decide(now):
        generation = begin_generation(settings, now.next_number(), archive_of(settings, base))
        return {generation.name: generation.as_json()}

    return max(
        (each.generation for each in change_generations(settings, decide).known.values()),
        key=lambda generation: generation.number,
    )


def fill_bronze(
    settings: Settings, generation: Generation, held: Mapping[At, Mapping[int, Message]] | None = None
) -> Manifest:
    """Bronze, and nothing else, up to where the topics end, in one batch: of the records `held`, or those in Kafka."""
    _, ends = source_bounds(settings, generation)
    rows: dict[str, list[tuple]] = defaultdict(list)
    for (topic, partition), found in (records(settings) if held is None else held).items():
        for offset, message in found.items():
            headers = message.headers() and [{"key": k, "value": v} for k, v in message.headers()]
            at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            rows[topic].append((partition, offset, at, None, message.key(), message.value(), headers))
    frames = {}
    for topic, each in rows.items():
        table = bronze(CONTRACTS[topic])
        frames[table.name] = pl.DataFrame(each, frame_schema(table), orient="row")
    store = LakeStore(lake_root(settings, generation.name), Failpoints(settings))
    try:
        topics = {topic: identity.topic_id for topic, identity in generation.topics.items()}
        founded = store.open(generation.name, topics)
        manifest = Manifest(1, generation.name, ends, founded.tables, topics=topics)
        return store.write(manifest, frames)
    finally:
        store.close()

"""A source topic can be written again from bronze, byte for byte, whatever its records look like."""

import json
import os
import random
import subprocess
import sys
from collections import defaultdict

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Producer

from infra.kafka import admin, identities
from infra.runtime.platform import ROOT
from tests.streams.lake.kit import LakeProcess, bootstrap
from tests.streams.live.kit import committed

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(600)]
PARTITIONS = 3
HEADERS = (
    None,
    [],
    [("a", b"1"), ("b", b""), ("a", b"2"), ("none", None)],
    [("", b"\0\xff"), ("ä", "ü".encode())],
)
KEYS = (None, b"", b"key", b"\0\xff", b"k" * 5_000)
VALUES = (None, b"", b"no avro", bytes(range(256)), b"\0\0\0\0\1" + b"v" * 400_000)


def random_records(chance, count):
    """Partition, key, value, headers: every combination of what may be odd, and much in a random order."""
    every = [(k, v, h) for k in KEYS for v in VALUES[:4] for h in HEADERS] + [(b"large", VALUES[4], None)]
    chosen = [*every, *chance.choices(every, k=count)]
    chance.shuffle(chosen)
    return [(chance.randrange(PARTITIONS), *each) for each in chosen]


def produce(servers, name, chance, records):
    """In transactions of random lengths, some of them aborted, and outside of any. Returns how many were committed."""
    plain = Producer({"bootstrap.servers": servers, "message.max.bytes": 900_000})
    transactional = Producer(
        {"bootstrap.servers": servers, "transactional.id": name, "message.max.bytes": 900_000}
    )
    transactional.init_transactions(60)
    kept, left = 0, list(records)
    while left:
        size = chance.randint(1, 30)
        run, left = left[:size], left[size:]
        way = chance.choice(("plain", "commit", "abort"))
        producer = plain if way == "plain" else transactional
        if way != "plain":
            producer.begin_transaction()
        for partition, key, value, headers in run:
            producer.produce(name, value, key, partition, headers=headers)
        assert producer.flush(60) == 0
        if way == "commit":
            producer.commit_transaction(60)
        elif way == "abort":
            producer.abort_transaction(60)
        kept += len(run) * (way != "abort")
    return kept


def by_partition(settings, name):
    """Everything of each record but its offset, in order; and what stamped the times."""
    found, stamps = defaultdict(list), set()
    for message in committed(settings, name):
        stamp, time = message.timestamp()
        stamps.add(stamp)
        found[message.partition()].append((time, message.key(), message.value(), message.headers() or []))
    return dict(found), stamps


def dataflow(settings, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "dataflow", "lake", "rebuild-topic", *arguments],
        cwd=ROOT,
        env={**os.environ, **settings.environ()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_topic_is_written_again_from_bronze_byte_for_byte(settings):
    settings = settings.replace(kafka_partitions=PARTITIONS)
    bootstrap(settings)
    chance = random.Random(31)
    source = f"{settings.topic_prefix}orders"
    kept = produce(settings.kafka_bootstrap_servers, source, chance, random_records(chance, 400))
    with LakeProcess(settings) as lake:
        lake.launch()
        manifest = lake.settle()
    before, stamps = by_partition(settings, source)
    assert sum(map(len, before.values())) == kept
    assert sum(manifest.until["orders", p] for p in range(PARTITIONS)) > kept  # transactions leave gaps
    assert stamps == {TIMESTAMP_LOG_APPEND_TIME}

    name = f"restored-{settings.dataflow_env}.orders"
    done = dataflow(settings, "orders", "--to", name, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["topic"], told["manifest"], told["records"]) == (name, manifest.number, kept)
    after, stamps = by_partition(settings, name)
    assert after == before
    assert stamps == {TIMESTAMP_CREATE_TIME}
    [made] = identities(admin(settings.kafka_bootstrap_servers), [name]).values()
    assert made.partitions == PARTITIONS

    for arguments, reason in (
        (("orders", "--to", name), "choose another name"),
        (("nothing", "--to", "another"), "expected a topic that the lake has records of"),
        (("orders", "--to", "no name!"), "expected a topic's name"),
    ):
        refused = dataflow(settings, *arguments)
        assert refused.returncode == 1, arguments
        assert reason in refused.stderr
    assert by_partition(settings, name)[0] == before

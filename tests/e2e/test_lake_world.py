"""What changes around the lake job: topics that grow, that are created again, generations that follow."""

from dataclasses import replace

import pytest
from confluent_kafka import Producer

from infra.bootstrap import bootstrap
from infra.entry import EXIT_TERMINAL, EXIT_TRANSIENT
from infra.generation import new_generation
from infra.kafka import admin, grow
from serving.lake.reader import Lake
from streams.lake.place import lake_root
from tests.e2e.kit import Shop
from tests.e2e.lake_kit import LakeJob
from tests.streams.live.test_live_world import create_topic, delete_topic

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(1_200)]


def to_every_partition(settings, topic, partitions):
    """Records that nobody understands: what is asked is whether they arrive."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for partition in range(partitions):
        for n in range(3):
            producer.produce(settings.topic_prefix + topic, b"\1%d" % n, b"key", partition)
    assert producer.flush(30) == 0


def test_partitions_are_added_while_it_runs_and_while_it_is_down(settings):
    # So few that what waits takes several batches, and several plans.
    settings = settings.replace(kafka_partitions=2, lake_batch_records=100)
    bootstrap(settings)
    shop = Shop(settings, 20_000, 21)
    shop.produce(800)
    client = admin(settings.kafka_bootstrap_servers)
    with LakeJob(settings) as lake:
        lake.settle()

        for topic in ("orders", "clickstream"):
            grow(client, settings.topic_prefix + topic, 5)
        assert lake.ended() == EXIT_TRANSIENT
        assert "got more partitions: the job starts again with more slots" in lake.log()
        to_every_partition(settings, "orders", 5)
        shop.produce(800)
        lake.launch()
        manifest = lake.settle()
        assert all(manifest.until["orders", p] for p in range(5))

        lake.kill()
        shop.produce(600)
        for topic in ("customers", "products", "payments"):
            grow(client, settings.topic_prefix + topic, 3)
        to_every_partition(settings, "customers", 3)
        shop.produce(600)
        lake.launch()
        manifest = lake.settle()
        assert all(manifest.until["customers", p] for p in range(3))


def test_a_topic_that_was_created_again_is_an_error_with_a_way_out_that_works(settings):
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    shop = Shop(settings, 20_000, 22)
    shop.produce(600)
    with LakeJob(settings) as lake:
        first, old = lake.settle(), lake.generation
        lake.kill()
        delete_topic(settings, "orders")
        create_topic(settings, "orders", 2)
        shop.forget("orders")
        shop.produce(300)
        lake.launch()
        assert lake.ended() == EXIT_TERMINAL
        assert "orders was deleted and created again" in lake.log()
        assert "`dataflow generation new`" in lake.log()
        reader = Lake(lake_root(settings, old.name))
        assert reader.newest() == first

        new_generation(settings)
        lake.launch()
        manifest = lake.settle()
        assert manifest.generation != first.generation
        assert sum(manifest.counts.values()) == sum(n for n in manifest.until.values())
        # The old lake stays as it was.
        assert reader.newest() == first

        # A new generation takes the place of the one that is filled.
        new_generation(settings)
        assert lake.ended() == EXIT_TRANSIENT
        assert "has taken the place of" in lake.log()
        lake.launch()
        again = lake.settle()
        assert replace(again, generation="", tables={}, number=0, schemas={}) == replace(
            manifest, generation="", tables={}, number=0, schemas={}
        )

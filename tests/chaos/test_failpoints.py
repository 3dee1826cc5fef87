"""Each failpoint of the live job and the materializer, hit once in a whole platform: REST is exact all the same.

The job that has the failpoint stands in for the platform's own, with a state directory of its own. A stand-in of the
live job has no checkpoint, so it also judges everything again from the beginning.
"""

import pytest
from confluent_kafka import TopicPartition
from redis import Redis

from infra.generation import load_generation
from infra.kafka import admin, log_bounds
from tests.chaos.kit import stand_in, world
from tests.helpers import wait_for

pytestmark = [pytest.mark.longhaul, pytest.mark.timeout(1_500)]

# `:2` is the second hit in one life of the process: the one that a repeat, or a second claim, brings.
OF_LIVE = (
    "live.before_store_attempt",
    "live.after_store_attempt",
    "live.before_query_start:2",
    "live.after_query_start:2",
)
OF_MATERIALIZER = (
    "materializer.before_commit:3",
    "materializer.after_commit:3",
    "materializer.before_dead_letters:2",
    "materializer.after_dead_letters:2",
    "materializer.after_claim:2",
    "materializer.after_founding:2",
)


@pytest.fixture(scope="module")
def running(tmp_path_factory, seed):
    with world(tmp_path_factory.mktemp("failpoints"), seed) as made:
        yield made


def lose_redis(world) -> None:
    with Redis(world.settings.redis_host, world.settings.redis_port) as redis:
        redis.flushall()


def lose_older_verdicts(world) -> None:
    """The older half of each judged partition, so that an emptied Redis can only be filled by a repeat."""
    settings = world.settings
    topic = load_generation(settings).judged_topic(settings)
    client = admin(settings.kafka_bootstrap_servers)
    first, ends = log_bounds(client, [(topic, p) for p in range(settings.kafka_partitions)])
    cut = [TopicPartition(topic, p, (first[topic, p] + ends[topic, p]) // 2) for _, p in ends]
    for future in client.delete_records(cut).values():
        future.result(15)


@pytest.mark.parametrize("failpoint", OF_MATERIALIZER)
def test_the_materializer_dies_between_two_writes(running, tmp_path, failpoint):
    with running.watched(), stand_in(running, "materializer", tmp_path, failpoint) as (job, marker):
        running.shop.produce(1_500)
        if failpoint.startswith(("materializer.after_claim", "materializer.after_founding")):
            lose_redis(running)
        wait_for(marker.exists, 60, f"the kill at {failpoint}")
        running.shop.produce(500)
        wait_for(
            lambda: job.supervisor.process("materializer").restarts, what="the supervisor's notice of it"
        )
        job.wait_ready("materializer", 60)
        assert job.supervisor.process("materializer").restarts == 1
        running.rest.at_ends(running.settings)
    running.settle()


@pytest.mark.parametrize("failpoint", OF_LIVE)
def test_the_live_job_dies_around_what_a_repeat_writes(running, tmp_path, failpoint):
    with running.watched() as reader, stand_in(running, "live", tmp_path, failpoint) as (job, marker):
        running.shop.produce(500)
        running.rest.at_ends(running.settings)
        assert not marker.exists()
        lose_older_verdicts(running)
        lose_redis(running)
        wait_for(marker.exists, 120, f"the kill at {failpoint}")
        running.shop.produce(500)
        wait_for(lambda: job.supervisor.process("live").restarts, what="the supervisor's notice of it")
        job.wait_ready("live", 120)
        assert job.supervisor.process("live").restarts == 1
        running.rest.at_ends(running.settings)
    assert reader.refused > 0
    running.settle()

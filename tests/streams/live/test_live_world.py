"""What changes around the live job: topics, generations, the broker's limits, the mode."""

import random
import signal
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from infra.bootstrap import bootstrap
from infra.entry import EXIT_TERMINAL, EXIT_TRANSIENT
from infra.generation import load_generation, new_generation
from infra.kafka import admin, await_leaders, ensure_topics, grow, identities
from schemas.errors import GenerationError
from schemas.topics import TOPICS
from tests.helpers import wait_for
from tests.streams.live.kit import Account, LiveProcess, ShopFeed, against_plain_python, verdicts_of

# A busy machine takes three times as long as an idle one.
pytestmark = [pytest.mark.longhaul, pytest.mark.slow, pytest.mark.timeout(600)]


def delete_topic(settings, topic):
    client, name = admin(settings.kafka_bootstrap_servers), settings.topic_prefix + topic
    client.delete_topics([name])[name].result(30)
    wait_for(lambda: not identities(client, [name]), 30, f"the end of topic {name}")


def create_topic(settings, topic, partitions):
    """A topic that was just deleted may still be in the way."""
    client, name = admin(settings.kafka_bootstrap_servers), settings.topic_prefix + topic
    wait_for(lambda: ensure_topics(client, {name: TOPICS[topic]}, partitions, 1), 30, f"topic {name}")
    await_leaders(client, [name])


def test_grown_and_recreated_topics_and_new_generations(settings):
    settings = settings.replace(kafka_partitions=2)
    first = bootstrap(settings)
    feed = ShopFeed(settings)
    client = admin(settings.kafka_bootstrap_servers)
    with LiveProcess(settings) as job:
        # a topic grows: the job ends, and the next one has slots and outputs for all
        with Account(settings, first) as account:
            feed.produce(500)
            account.settle()
            grow(client, f"{settings.topic_prefix}reviews", 5)
            assert job.ended() == EXIT_TRANSIENT
            assert "reviews got more partitions" in job.log()
            job.start()
            wide = [first.judged_topic(settings), first.dead_letter_topic(settings)]
            assert [i.partitions for i in identities(client, wide).values()] == [5, 5]
            producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
            key, value, _ = feed.good("reviews")
            for partition in range(5):
                for body in (value, b"\1" + uuid.uuid4().bytes):
                    producer.produce(f"{settings.topic_prefix}reviews", body, key, partition)
            assert producer.flush(30) == 0
            feed.produce(500)
            account.settle()
            assert all(account.partitions["reviews", p].applied for p in range(5))

        # a topic is created again while the job is down: it does not start, and says what to do
        job.kill()
        delete_topic(settings, "orders")
        with pytest.raises(GenerationError, match=r"orders.*bootstrap"):
            new_generation(settings)
        create_topic(settings, "orders", 2)
        feed.produce(300)
        job.launch()
        assert job.ended() == EXIT_TERMINAL
        assert "GenerationError" in job.log()
        assert "dataflow generation new" in job.log()

        # in a new generation everything is judged from scratch
        second = new_generation(settings)
        assert (second.number, second.topics["reviews"].partitions) == (first.number + 1, 5)
        job.start()
        assert job.status()["generation"] == second.name
        with Account(settings, second) as account:
            account.settle()
            against_plain_python(account, feed.codec)
            assert account.total("repeats") == account.total("gaps") == 0

        # somebody starts the next generation while it runs: it ends, to be started into that one
        third = new_generation(settings)
        assert job.ended() == EXIT_TRANSIENT
        assert f"generation {third.name} has taken the place of {second.name}" in job.log()
        assert load_generation(settings) == third
        assert [line for line in job.log().splitlines() if " ERROR " in line or "\tat " in line] == []


def set_limit(settings, topic, size):
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(settings.kafka_bootstrap_servers)
    client.incremental_alter_configs([resource])[resource].result(30)


def test_an_output_too_large_for_the_broker_is_tried_until_it_fits(settings):
    # A failed write shows at the partition's next one, else at the trigger's end.
    settings = settings.replace(kafka_partitions=2, live_trigger_seconds=5)
    generation = bootstrap(settings)
    judged = generation.judged_topic(settings)
    feed, chance = ShopFeed(settings), random.Random(3)
    _, _, review = feed.good("reviews")
    hardly_compressible = "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(10_000))
    large = feed.codec.encode("reviews", {**review, "body": hardly_compressible})
    with LiveProcess(settings) as job, Account(settings, generation) as account:
        # not below the producer's batch.size: it would split a batch for ever without making it smaller
        set_limit(settings, judged, 20_000)
        feed.produce(200)
        account.settle()
        feed.send("reviews", large)
        feed.produce(300)
        job.wait_status("two trials in vain", lambda s: s["restarts"] >= 2 and s["state"] == "restarting")
        assert "RecordTooLarge" in job.status()["last_failure"]["reason"]
        assert job.status()["failures"] >= 2
        set_limit(settings, judged, 1_048_588)
        account.settle()
        assert verdicts_of(account, "reviews", [large[1]])[0]["e"]["body"] == hardly_compressible


def test_micro_batches_give_the_same_verdicts(settings):
    settings = settings.replace(live_mode="microbatch", kafka_partitions=2)
    generation = bootstrap(settings)
    feed = ShopFeed(settings)
    with LiveProcess(settings) as job, Account(settings, generation) as account:
        for _ in range(3):
            feed.produce(500)
            account.settle()
        assert against_plain_python(account, feed.codec) > 50
        assert job.status()["mode"] == "microbatch"
        job.signal_all(signal.SIGTERM)
        assert job.ended(20) == 0
        assert [line for line in job.log().splitlines() if " ERROR " in line or "\tat " in line] == []

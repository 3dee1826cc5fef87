"""Look-ups in Kafka answer again after what breaks clients: a broker's restart, a topic made a moment ago."""

from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.kafka import admin, ensure_topics, grow, identities, log_bounds
from infra.runtime.platform import Platform
from infra.settings import Settings
from schemas.topics import Topic
from tests.helpers import isolated_settings, wait_for


@pytest.mark.chaos
@pytest.mark.longhaul
def test_a_client_that_was_there_before_still_lists_offsets_after_a_kill_of_the_broker(
    tmp_path: Path,
) -> None:
    with Platform(isolated_settings(tmp_path), ("kafka",), preferred_ports=False) as platform:
        bootstrap = platform.settings.kafka_bootstrap_servers
        client = admin(bootstrap)
        ensure_topics(client, {"t": Topic("t", "a test")}, 2, 1)
        producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2})
        producer.produce("t", b"one", partition=1)
        assert producer.flush(20) == 0
        places = [("t", 0), ("t", 1)]
        assert log_bounds(client, places)[1] == {("t", 0): 0, ("t", 1): 1}
        for restarts in (1, 2):
            platform.kill("kafka")
            wait_for(lambda n=restarts: platform.supervisor.process("kafka").restarts == n)
            platform.wait_ready("kafka", 60)
            assert log_bounds(client, places)[1] == {("t", 0): 0, ("t", 1): 1}


def test_topics_can_be_used_the_moment_they_are_made(settings: Settings, env_prefix: str) -> None:
    client = admin(settings.kafka_bootstrap_servers)
    names = [f"{env_prefix}.{n}" for n in range(10)]
    assert sorted(ensure_topics(client, {n: Topic(n, "a test") for n in names}, 3, 1)) == names
    assert set(identities(client, names)) == set(names)
    assert len(log_bounds(client, [(n, p) for n in names for p in range(3)])[1]) == 30
    assert ensure_topics(client, {n: Topic(n, "a test") for n in names}, 3, 1) == []


def test_a_topic_grows_and_never_shrinks(settings: Settings, env_prefix: str) -> None:
    client = admin(settings.kafka_bootstrap_servers)
    ensure_topics(client, {env_prefix: Topic(env_prefix, "a test")}, 2, 1)
    for wanted, partitions in ((4, 4), (4, 4), (3, 4)):
        grow(client, env_prefix, wanted)
        wait_for(lambda n=partitions: identities(client, [env_prefix])[env_prefix].partitions == n)

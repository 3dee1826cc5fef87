"""The embedded services are real, listen on loopback only, and keep what they were given through SIGKILL."""

import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from infra.runtime.platform import SERVICES, Platform
from infra.settings import Settings
from tests.helpers import isolated_settings, wait_for

SCHEMA = {"type": "record", "name": "Thing", "fields": [{"name": "id", "type": "string"}]}
NARROWER = {
    "type": "record",
    "name": "Thing",
    "fields": [{"name": "id", "type": "string"}, {"name": "new", "type": "int"}],
}


def register(settings: Settings, subject: str, schema: dict) -> httpx.Response:
    url = f"{settings.kafka_schema_registry}/subjects/{subject}/versions"
    return httpx.post(url, json={"schema": json.dumps(schema)}, timeout=10)


def create_topic(settings: Settings, name: str, partitions: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for future in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        future.result(20)


def read_all(settings: Settings, topic: str, count: int) -> list[bytes]:
    config = {"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": uuid.uuid4().hex}
    consumer = Consumer(config | {"auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        found: list[bytes] = []

        def enough() -> bool:
            found.extend(message.value() for message in consumer.consume(count, 0.2) if not message.error())
            return len(found) >= count

        wait_for(enough, 30, f"{count} records of {topic}")
        return found
    finally:
        consumer.close()


def test_broker_takes_and_gives_records(settings: Settings) -> None:
    topic = f"{settings.topic_prefix}things"
    create_topic(settings, topic)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for n in range(100):
        producer.produce(topic, str(n).encode())
    assert producer.flush(20) == 0
    assert read_all(settings, topic, 100) == [str(n).encode() for n in range(100)]


def test_broker_makes_no_topic_by_itself(settings: Settings) -> None:
    failures = []
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "message.timeout.ms": 3000})
    producer.produce(
        f"{settings.topic_prefix}typo", b"x", on_delivery=lambda error, _: failures.append(error)
    )
    producer.flush(20)
    assert failures[0] is not None
    assert (
        f"{settings.topic_prefix}typo"
        not in AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
        .list_topics(timeout=10)
        .topics
    )


def test_broker_refuses_a_record_above_one_mebibyte(settings: Settings) -> None:
    topic = f"{settings.topic_prefix}large"
    create_topic(settings, topic)
    failures = []
    producer = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap_servers, "message.max.bytes": 4_000_000}
    )
    for size in (1_000_000, 1_100_000):
        producer.produce(topic, b"x" * size, on_delivery=lambda error, _: failures.append(error))
        producer.flush(20)
    assert failures[0] is None
    assert failures[1].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_registry_refuses_an_incompatible_schema_out_of_the_box(settings: Settings) -> None:
    subject = f"{settings.topic_prefix}things-value"
    first = register(settings, subject, SCHEMA)
    assert first.status_code == 200
    assert register(settings, subject, SCHEMA).json()["id"] == first.json()["id"]
    assert register(settings, subject, NARROWER).status_code == 409


def test_registry_keeps_its_journal_for_ever(platform: Platform) -> None:
    admin = AdminClient({"bootstrap.servers": platform.settings.kafka_bootstrap_servers})
    [future] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, "kafkasql-journal")]).values()
    config = future.result(20)
    assert (config["cleanup.policy"].value, config["retention.ms"].value) == ("delete", "-1")


def test_valkey_loses_no_acknowledged_write_and_evicts_nothing(platform: Platform) -> None:
    client = redis.Redis(platform.settings.redis_host, platform.settings.redis_port, decode_responses=True)
    with client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_nothing_listens_beyond_loopback(platform: Platform) -> None:
    pids = [pid for name in SERVICES for pid in platform.pids(name)]
    listening = [
        connection.laddr.ip.removeprefix("::ffff:")
        for pid in pids
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5
    assert set(listening) <= {"127.0.0.1", "::1"}


@pytest.fixture
def own_platform(tmp_path: Path) -> Iterator[Platform]:
    """Services that a test may kill."""
    with Platform(isolated_settings(tmp_path), SERVICES, preferred_ports=False) as running:
        yield running


@pytest.mark.longhaul
@pytest.mark.slow
def test_ids_records_and_keys_survive_sigkill_of_everything_and_a_new_start(own_platform: Platform) -> None:
    settings = own_platform.settings
    ids = {n: register(settings, f"s{n}-value", SCHEMA | {"name": f"T{n}"}).json()["id"] for n in range(5)}
    create_topic(settings, "kept")
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all"})
    for n in range(50):
        producer.produce("kept", str(n).encode())
    assert producer.flush(20) == 0
    with redis.Redis(settings.redis_host, settings.redis_port) as client:
        client.set("kept", "yes")

    for name in reversed(SERVICES):
        own_platform.kill(name)
    own_platform.wait_ready()

    assert {n: register(settings, f"s{n}-value", SCHEMA | {"name": f"T{n}"}).json()["id"] for n in ids} == ids
    assert read_all(settings, "kept", 50) == [str(n).encode() for n in range(50)]
    with redis.Redis(settings.redis_host, settings.redis_port) as client:
        assert client.get("kept") == b"yes"
    assert {
        info.name: info.restarts for info in own_platform.supervisor.processes() if info.name in SERVICES
    } == {
        "kafka": 1,
        "registry": 1,
        "valkey": 1,
    }

    with pytest.raises(KafkaException):
        create_topic(settings, "kept")
    # The broker alone: the registry goes on with the one that comes back at the same address.
    own_platform.kill("kafka")
    own_platform.wait_ready("kafka")
    assert register(settings, "after-value", SCHEMA).status_code == 200


def test_a_port_in_use_by_somebody_else_is_passed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = isolated_settings(tmp_path, redis_port=other.getsockname()[1])
        with Platform(settings, ("valkey",)) as running:
            assert running.settings.redis_port != settings.redis_port

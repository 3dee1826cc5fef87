"""The producer keeps Kafka's promises: the partition that Java would choose, order within a key, no silent loss."""

from collections import defaultdict

import pytest
from confluent_kafka import Consumer

from infra.bootstrap import bootstrap
from infra.registry import schema_ids
from infra.settings import Settings
from schemas.errors import EventError, Unavailable
from sources.generator import Dials, ShopSimulator, moments
from sources.producer import EventProducer, Pacer
from tests.helpers import wait_for
from tests.sources.generator_kit import IDS, SPAN, START

# from the tests of Kafka's Java client
MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def murmur2(data: bytes) -> int:
    """The hash with which Kafka's Java client chooses a key's partition, as an unsigned integer."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


def read(settings: Settings, topic: str, count: int) -> list:
    """The first `count` records of a topic."""
    reader = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": "producer-test",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    found: list = []
    try:
        reader.subscribe([settings.topic_prefix + topic])
        wait_for(
            lambda: found.extend(reader.consume(500, 0.2)) or len(found) >= count, 30, f"{count} records"
        )
    finally:
        reader.close()
    return found


@pytest.mark.parametrize(("data", "expected"), MURMUR2.items())
def test_this_test_knows_the_java_hash(data, expected):
    assert murmur2(data) == expected & 0xFFFFFFFF


def test_a_key_goes_to_the_partition_that_a_java_client_chooses(settings):
    bootstrap(settings)
    delivered = []
    simulator = ShopSimulator(1, START, IDS, Dials.none())
    orders = [e for e in simulator.emissions(moments(START, SPAN, 4000)) if e.topic == "orders"]
    with EventProducer(
        settings.kafka_bootstrap_servers,
        settings.topic_prefix,
        schema_ids(settings),
        on_delivered=lambda *place: delivered.append(place),
    ) as producer:
        for e in orders:
            producer.produce(e.topic, e.event)
    assert len(delivered) == len(orders) > 100
    messages = read(settings, "orders", len(orders))
    assert sorted(delivered) == sorted(("orders", m.partition(), m.offset()) for m in messages)
    for message in messages:
        assert message.partition() == (murmur2(message.key()) & 0x7FFFFFFF) % settings.kafka_partitions
    assert len({message.partition() for message in messages}) == settings.kafka_partitions


def test_records_of_a_key_keep_their_order_and_their_bytes(settings):
    bootstrap(settings)
    sent = defaultdict(list)
    with EventProducer(
        settings.kafka_bootstrap_servers, settings.topic_prefix, schema_ids(settings)
    ) as producer:
        for n in range(20_000):
            key = f"k{n % 50}".encode()
            value = None if n % 97 == 0 else b"" if n % 89 == 0 else str(n).encode()
            producer.produce_raw("reviews", key, value, [("n", str(n).encode())])
            sent[key].append((value, [("n", str(n).encode())]))
    got = defaultdict(list)
    for message in read(settings, "reviews", 20_000):
        got[message.key()].append((message.value(), message.headers()))
    assert got == sent


def test_what_the_broker_does_not_take_is_an_error(settings):
    producer = EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, IDS, delivery_seconds=1)
    producer.produce_raw("no-such-topic", b"k", b"v")
    with pytest.raises(Unavailable, match="1 records were not delivered"):
        producer.flush()
    producer.flush()


def test_without_a_broker_nothing_is_lost_silently():
    producer = EventProducer("127.0.0.1:1", "t.", IDS, delivery_seconds=1)
    producer.produce_raw("orders", b"k", b"v")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        producer.flush(10)


def test_records_that_are_still_queued_when_the_flush_ends_are_an_error():
    producer = EventProducer("127.0.0.1:1", "t.", IDS, delivery_seconds=5)
    producer.produce_raw("orders", b"k", b"v")
    with pytest.raises(Unavailable, match="did not reach the broker"):
        producer.flush(0.2)


def test_a_record_that_is_too_large_is_refused_by_name():
    producer = EventProducer("127.0.0.1:1", "t.", IDS)
    with pytest.raises(EventError, match="orders") as caught:
        producer.produce_raw("orders", b"k", b"v" * 2_000_000)
    assert caught.value.rule == "too_large"


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def paced(rate: float, **options: float) -> tuple[Pacer, Clock]:
    clock = Clock()
    return Pacer(rate, clock=clock, sleep=clock.sleep, **options), clock


def test_turns_are_evenly_spaced():
    pacer, clock = paced(50)
    for _ in range(101):
        pacer.wait()
    assert clock.now == pytest.approx(102.0)
    assert clock.naps == pytest.approx([0.02] * 100)


def test_a_slow_moment_is_made_up_for():
    pacer, clock = paced(100)
    for turn in range(201):
        pacer.wait()
        if turn == 50:
            clock.now += 1.0
    assert clock.now == pytest.approx(102.0)


def test_a_long_stall_is_forgiven_where_asked():
    pacer, clock = paced(100, forgiven_after=10)
    pacer.wait()
    clock.now += 3600
    for _ in range(101):
        pacer.wait()
    assert clock.now == pytest.approx(3701.0, abs=0.02)


def test_rate_zero_never_waits():
    pacer, clock = paced(0)
    for _ in range(1000):
        pacer.wait()
    assert clock.naps == []

"""What is laid out for a reader of topics to fall into, through the whole platform, over REST.

Aborted transactions, damaged and absurd records, a verdict too large for the broker, partitions added, a topic created
again. One platform, one shop: each test adds its records and leaves the numbers exact.
"""

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from infra.generation import load_generation, new_generation
from infra.kafka import admin, await_leaders, ensure_topics, grow, identities
from infra.read_topic import read_topic
from infra.runtime.spec import State
from schemas.contract import CONTRACTS
from schemas.topics import TOPICS
from sources.codec import EventCodec
from sources.generator import Dials, Emission, ShopSimulator, moments
from sources.generator.emission import Intent
from sources.generator.malformed import KINDS, MALFORMED, Record
from sources.generator.randomness import Chance
from tests.chaos.kit import World, world
from tests.e2e.kit import SPAN, START, source_records
from tests.helpers import wait_for
from tests.sources.generator_kit import TIDY, history

pytestmark = [pytest.mark.longhaul, pytest.mark.timeout(600)]

STRANGER = 991  # seed of shops other than the one whose truth is kept
# What the dead letters may say of each way to damage a record.
REASONS = {
    "wrong_magic_byte": {"wrong_magic_byte"},
    "truncated_header": {"too_short"},
    "truncated": {"undecodable"},
    "trailing_bytes": {"not_canonical"},
    "unknown_schema_id": {"unknown_schema_id"},
    "schema_id_of_another_topic": {"unknown_schema_id"},
    "not_utf8": {"invalid_utf8"},
    "empty_value": {"too_short"},
    "null_value": {"null_value"},
    "null_key": {"null_key"},
    "oversized_string": {"undecodable"},
    "negative_length": {"undecodable"},
    "oversized_decimal": {"undecodable", "not_canonical"},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory, seed):
    with world(tmp_path_factory.mktemp("traps"), seed, kafka_partitions=2) as made:
        yield made


class Spare:
    """Good events of another shop, each once, in the shop's day."""

    def __init__(self, world: World) -> None:
        self.codec = EventCodec(world.shop.ids)
        emissions, _ = history(TIDY, count=20_000, seed=STRANGER)
        self._events: dict[str, Iterator[dict[str, Any]]] = {
            topic: iter(self._of(topic, emissions)) for topic in CONTRACTS
        }

    @staticmethod
    def _of(topic: str, emissions) -> Iterator[dict[str, Any]]:
        contract, seen = CONTRACTS[topic], set()
        for emission in emissions:
            if emission.topic == topic and emission.event[contract.entity_id] not in seen:
                seen.add(emission.event[contract.entity_id])
                at = START + timedelta(hours=1)
                yield {n: at if isinstance(v, datetime) else v for n, v in emission.event.items()}

    def event(self, topic: str, **changes: Any) -> dict[str, Any]:
        return {**next(self._events[topic]), **changes}

    def valid(self, topic: str, event: dict[str, Any]) -> Emission:
        return Emission(topic, event, *self.codec.encode(topic, event), Intent.VALID)


@pytest.fixture(scope="module")
def spare(running) -> Spare:
    return Spare(running)


def send(world: World, *emissions: Emission, partition: int | None = None) -> list[tuple[str, int, int]]:
    """Produce, count in the truth, and tell where each came to lie."""
    producer = Producer(
        {
            "bootstrap.servers": world.settings.kafka_bootstrap_servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
    places: list[tuple[str, int, int] | None] = [None] * len(emissions)
    failures: list[str] = []

    def report(n: int, topic: str):
        def delivered(error, message) -> None:
            if error is not None:
                failures.append(error.str())
            places[n] = (topic, message.partition(), message.offset())

        return delivered

    extra = {} if partition is None else {"partition": partition}
    for n, each in enumerate(emissions):
        name = world.settings.topic_prefix + each.topic
        producer.produce(name, each.value, each.key, on_delivery=report(n, each.topic), **extra)
        world.shop.counted(each)
    assert producer.flush(60) == 0
    assert failures == []
    return places


def dead_letters(world: World) -> dict[tuple[str, int, int], tuple[str, bytes | None]]:
    """The live generation's dead letters: where the record lies → reasons and bytes."""
    settings, found = world.settings, {}
    name = load_generation(settings).dead_letter_topic(settings)
    for message in read_topic(settings.kafka_bootstrap_servers, name):
        topic, partition, offset = message.key().decode().split("/")
        reasons = dict(message.headers())["reasons"].decode()
        found[topic, int(partition), int(offset)] = (reasons, message.value())
    return found


def transactional(world: World, name: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": world.settings.kafka_bootstrap_servers,
            "transactional.id": f"{world.settings.topic_prefix}{name}",
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
    producer.init_transactions(60)
    return producer


def test_of_interleaved_transactions_only_the_committed_count_and_no_offset_is_unaccounted_for(running):
    stranger = ShopSimulator(STRANGER, START, running.shop.ids, Dials.all_up())
    foreign = stranger.emissions(moments(START, SPAN, 800))
    kept, lost = transactional(running, "kept"), transactional(running, "lost")
    prefix = running.settings.topic_prefix
    with running.watched(empties=True):
        for _ in range(8):
            kept.begin_transaction()
            lost.begin_transaction()
            for good, bad in zip(running.shop.take(100), foreign, strict=False):
                kept.produce(prefix + good.topic, good.value, good.key)
                lost.produce(prefix + bad.topic, bad.value, bad.key)
                kept.poll(0)
                lost.poll(0)
            assert kept.flush(30) == lost.flush(30) == 0
            kept.commit_transaction(30)
            lost.abort_transaction(30)
        running.settle()
    exactness = running.rest.get("/v1/exactness")
    committed = len(source_records(running.settings))
    assert exactness["counts"]["empty"] == exactness["offsets"] - committed > 700


def test_damaged_records_of_every_kind_are_refused_with_their_reason_and_hold_nothing_up(
    running, spare, seed
):
    chance, sent = Chance(f"{seed}|damage"), []
    for topic, kinds in KINDS.items():
        for kind in kinds:
            event = spare.event(topic)
            good = Record(topic, event, *spare.codec.encode(topic, event), running.shop.ids)
            key, value = MALFORMED[kind](chance, good)
            sent.append((REASONS[kind], Emission(topic, None, key, value, Intent.MALFORMED, kind)))
    key, value = spare.codec.encode("orders", spare.event("orders"))
    huge = Emission("orders", None, key, value + b"\0" * 900_000, Intent.MALFORMED, "huge")
    stranger = Emission("orders", None, b"another key", value, Intent.MALFORMED, "wrong key")
    sent += [({"too_large"}, huge), ({"key_is_not_entity_id"}, stranger)]
    with running.watched(empties=True), running.shop.flowing(100):
        places = send(running, *(emission for _, emission in sent))
        running.rest.at_ends(running.settings)
    running.settle()
    letters = dead_letters(running)
    wrong = {
        (emission.topic, emission.detail): letters[at][0]
        for at, (expected, emission) in zip(places, sent, strict=True)
        if letters[at][0] not in expected
    }
    assert wrong == {}
    for at, (_, emission) in zip(places, sent, strict=True):
        if emission is not huge:
            assert letters[at][1] == (emission.value or b""), emission.detail


def test_one_poison_record_amid_many_good_ones_is_the_only_one_refused(running, spare):
    _, value = spare.codec.encode("clickstream", spare.event("clickstream"))
    before = running.shop.truth.verdicts("clickstream")["refused"]
    good = [spare.valid("clickstream", spare.event("clickstream")) for _ in range(2_000)]
    poison = Emission("clickstream", None, b"k", value[:-3], Intent.MALFORMED)
    [*_, at] = send(running, *good[:1_000], poison)
    send(running, *good[1_000:])
    running.settle()
    assert running.shop.truth.verdicts("clickstream")["refused"] == before + 1
    assert dead_letters(running)[at] == ("undecodable", poison.value)


def test_odd_but_valid_histories_are_counted_as_what_they_say(running, spare):
    """Versions backwards, a line before its order, a payment for none, a customer born again, one click twice."""
    order = spare.event("orders")
    customer = spare.event("customers")
    chance = Chance("odd")
    orders = [{**order, "version": v, "event_id": chance.uuid()} for v in (9, 8, 7, 2**62)]
    lives = [
        {**customer, "version": v, "op": op, "event_id": chance.uuid()}
        for v, op in ((1, "c"), (2, "d"), (3, "c"))
    ]
    item = spare.event("order_items", order_id=chance.uuid())
    payment = spare.event("payments", order_id=chance.uuid())
    click = spare.valid("clickstream", spare.event("clickstream"))
    histories = {"orders": orders, "customers": lives, "order_items": [item], "payments": [payment]}
    send(running, *(spare.valid(topic, event) for topic, events in histories.items() for event in events))
    for partition in (0, 1):
        send(running, click, partition=partition)
    running.settle()


def test_absurd_times_and_amounts_are_refused_by_name_or_counted_to_the_cent(running, spare):
    far, most = datetime(2190, 1, 1, tzinfo=START.tzinfo), Decimal("9999999999.99")
    refused = [
        ("orders", {"order_date": datetime(1970, 1, 1, tzinfo=START.tzinfo)}, "order_date_in_range"),
        ("orders", {"order_date": far}, "order_date_in_range"),
        ("clickstream", {"occurred_at": far}, "occurred_at_in_range"),
        ("orders", {"total_amount": Decimal("-0.01")}, "total_amount_minimum"),
        ("order_items", {"quantity": 0, "discount": Decimal(0)}, "quantity_minimum"),
        # more than a 64-bit sum of cents holds
        (
            "order_items",
            {"quantity": 2**31 - 1, "unit_price": Decimal("99999999.99")},
            "line_amount_in_range",
        ),
        ("order_items", {"quantity": -(2**31), "discount": Decimal(0)}, "quantity_minimum"),
    ]
    bad = []
    for topic, changes, rule in refused:
        event = spare.event(topic, **changes)
        bad.append(Emission(topic, None, *spare.codec.encode(topic, event), Intent.RULE_BREAKING, rule))
    places = send(running, *bad)
    good = [
        spare.valid("payments", spare.event("payments", amount=most, payment_status="succeeded")),
        spare.valid("orders", spare.event("orders", total_amount=most)),
        spare.valid("orders", spare.event("orders", total_amount=Decimal(0))),
    ]
    send(running, *good)
    running.settle()
    letters = dead_letters(running)
    for at, emission in zip(places, bad, strict=True):
        assert emission.detail in letters[at][0].split(","), (emission.detail, letters[at][0])


def set_limit(world: World, topic: str, size: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(world.settings.kafka_bootstrap_servers)
    client.incremental_alter_configs([resource])[resource].result(30)


def test_a_verdict_too_large_for_the_broker_waits_and_nothing_overtakes_it(running, spare, seed):
    judged = load_generation(running.settings).judged_topic(running.settings)
    chance = random.Random(seed)
    text = "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(10_000))  # hardly compressible
    large = spare.valid("reviews", spare.event("reviews", body=text))
    with running.watched(empties=True):
        # not below the producer's batch.size: it would split a batch for ever without making it smaller
        set_limit(running, judged, 20_000)
        try:
            [(_, partition, offset)] = send(running, large)
            running.shop.produce(500)

            def tried_in_vain() -> bool:
                failure = json.loads(running.status_file("live").read_text())["last_failure"]
                return failure is not None and "RecordTooLarge" in failure["reason"]

            wait_for(tried_in_vain, 120, "a trial in vain")
            running.shop.produce(500)
            reached = running.rest.get("/v1/status")["as_of"]["offsets"]["reviews"][str(partition)]
            assert reached <= offset, "it was passed over"
        finally:
            set_limit(running, judged, 1_048_588)
        running.settle()
    print("repeats asked for:", running.log("materializer").count("asking the live job to judge again"))


def test_partitions_added_while_it_runs_are_taken_in(running):
    grown = {"orders": 4, "clickstream": 3}
    client, prefix = admin(running.settings.kafka_bootstrap_servers), running.settings.topic_prefix
    before = running.platform.supervisor.process("live").restarts
    with running.watched(empties=True):
        # An entity's older records are counted before its key means another partition.
        running.rest.at_ends(running.settings)
        for topic, partitions in grown.items():
            grow(client, prefix + topic, partitions)
        # What comes before anybody has noticed must be counted, too.
        wait_for(
            lambda: {t: identities(client, [prefix + t])[prefix + t].partitions for t in grown} == grown,
            30,
            "the new partitions",
        )
        running.shop.produce(1_000)
        wait_for(
            lambda: running.platform.supervisor.process("live").restarts > before,
            60,
            "the live job's restart",
        )
        running.shop.produce(500)
        running.settle()
    offsets = running.rest.get("/v1/status")["as_of"]["offsets"]
    for topic, partitions in grown.items():
        assert len(offsets[topic]) == partitions
        assert all(offsets[topic][str(p)] > 0 for p in range(2, partitions))


# With one fewer, an offset of the partition that is gone can be neither read nor listed.
@pytest.mark.parametrize("fewer", [0, 1], ids=["as-wide", "narrower"])
def test_a_topic_created_again_is_refused_by_all_until_a_new_generation_counts_what_it_holds(running, fewer):
    settings, topic = running.settings, "orders"
    client, name = admin(settings.kafka_bootstrap_servers), settings.topic_prefix + topic
    old = load_generation(settings)
    partitions = old.topics[topic].partitions - fewer
    with running.watched(empties=True) as reader:
        client.delete_topics([name])[name].result(30)
        wait_for(lambda: not identities(client, [name]), 30, f"the end of topic {name}")
        wait_for(lambda: ensure_topics(client, {name: TOPICS[topic]}, partitions, 1), 30, f"topic {name}")
        await_leaders(client, [name])
        running.shop.forget(topic)
        running.shop.produce(500)
        for job in ("live", "materializer"):
            wait_for(
                lambda j=job: running.platform.supervisor.process(j).state is State.FAILED,
                90,
                f"the refusal of the {job}",
            )
            assert "GenerationError" in running.log(job), job
            assert "dataflow generation new" in running.log(job), job
        assert reader.generation == old.number
        new = new_generation(settings)
        running.platform.start_failed()
        running.shop.produce(500)
        running.settle()
        wait_for(lambda: reader.generation == new.number, 30, "answers of the new generation")
    assert running.rest.get("/v1/status")["generation"] == new.name == f"g{old.number + 1}"

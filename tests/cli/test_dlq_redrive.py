"""`dataflow dlq redrive` puts each record back once: what would pass now, whatever is killed, whoever else tries."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from dataflow.main import FAILED, OK, TRY_AGAIN, USAGE
from infra.kafka import admin
from infra.read_topic import read_topic
from infra.runtime.platform import ROOT
from infra.settings import Settings
from schemas.topics import REDRIVEN
from serving.dead_letters.redrive import BATCH, BATCH_BYTES, Whole, batches
from sources.codec import EventCodec
from sources.producer import EventProducer
from tests.cli.kit import T0, DeadLetterWriter, Shell, listed, order
from tests.generation_kit import begin_beside, go_live
from tests.helpers import wait_for

MINUTE = 60_000_000


def records(settings: Settings, topic: str) -> Counter[tuple[bytes | None, bytes | None]]:
    """Key and value of every committed record of a source topic, how often each."""
    name = settings.topic_prefix + topic
    return Counter((m.key(), m.value()) for m in read_topic(settings.kafka_bootstrap_servers, name))


def expect(settings: Settings, topic: str, expected: Counter) -> None:
    """These are its records: at once, or when the broker has marked the transaction that is committed as such."""
    wait_for(lambda: records(settings, topic) == expected, 10, f"the records of {topic}: {expected}")


def redriven(shell: Shell, *arguments: str) -> dict:
    assert shell.run("dlq", "redrive", "--json", *arguments) == OK, shell.err
    return json.loads(shell.out)


def test_what_would_pass_now_goes_back_once_and_the_rest_says_why_not(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    good = [codec.encode("orders", order(n)) for n in range(3)]
    for n, (key, value) in enumerate(good):
        letters.write(("orders", 0, n), value, ["unknown_schema_id"], key=key)
    for _ in range(2):  # a copy counts once
        letters.write(("orders", 0, 2), good[2][1], ["unknown_schema_id"], key=good[2][0])
    key, value = codec.encode("orders", order(8, total_amount=Decimal(-1)))
    letters.write(("orders", 0, 8), value, ["total_amount_minimum"], key=key)
    letters.write(("orders", 1, 9), value[:30], ["undecodable"], key=key)
    letters.write(("orders", 1, 11), b"x" * 100, ["too_large"], key=key, size=900_000)
    letters.flush()

    plan = redriven(shell, "--dry-run")
    assert (plan["wanted"], plan["ready"], plan["redriven"]) == (6, 3, 0)
    assert plan["ready_by_topic"] == {"orders": 3}
    assert plan["left"] == {"still_refused": 2, "bytes_lost": 1}
    assert plan["still_refused"] == [
        {"topic": "orders", "reason": "total_amount_minimum", "letters": 1},
        {"topic": "orders", "reason": "undecodable", "letters": 1},
    ]
    assert not records(environment, "orders")

    assert redriven(shell)["redriven"] == 3
    expect(environment, "orders", Counter(good))
    again = redriven(shell)
    assert (again["redriven"], again["left"]["already_redriven"]) == (0, 3)
    expect(environment, "orders", Counter(good))

    # one that would be refused again goes back only if it is told to
    assert redriven(shell, "--reason", "total_amount_minimum", "--all")["redriven"] == 1
    expect(environment, "orders", Counter([*good, (key, value)]))


def test_a_record_goes_back_with_its_own_headers_in_their_order(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    key, value = codec.encode("orders", order(1))
    own = [("trace", b"1"), ("redriven_from", b"orders/0/1"), ("reasons", None), ("trace", b"\xff")]
    letters.write(("orders", 0, 4), value, ["unknown_schema_id"], key=key, own=own)
    letters.flush()
    assert redriven(shell)["redriven"] == 1
    name = environment.topic_prefix + "orders"
    [record] = read_topic(environment.kafka_bootstrap_servers, name)
    expected = [("trace", b"1"), ("reasons", None), ("trace", b"\xff"), ("redriven_from", b"orders/0/4")]
    assert record.headers() == expected


def test_what_contradicts_another_event_stays_for_nothing_that_is_mended_changes_that(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    key, value = codec.encode("orders", order(1))
    letters.write(("orders", 0, 4), value, ["version_conflict"], key=key)
    letters.flush()
    plan = redriven(shell)
    assert (plan["ready"], plan["redriven"], plan["left"]) == (0, 0, {"still_refused": 1})
    assert plan["still_refused"] == [{"topic": "orders", "reason": "version_conflict", "letters": 1}]
    assert redriven(shell, "--all")["redriven"] == 1


@pytest.mark.cases(0)
def test_a_mark_of_a_topic_that_is_no_more_says_nothing_of_one_with_its_name(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    """The topic was deleted and created again, so the same place has another record."""
    good = [codec.encode("orders", order(n)) for n in range(3)]
    for n, (key, value) in enumerate(good):
        letters.write(("orders", 0, n), value, ["unknown_schema_id"], key=key)
    letters.flush()
    producer = Producer({"bootstrap.servers": environment.kafka_bootstrap_servers})
    marks = {"orders/0/0": b'{"topic_id": "another"}', "orders/0/1": b"{}", "orders/0/9": b"no json"}
    for letter_id, mark in marks.items():
        producer.produce(environment.topic_prefix + REDRIVEN, mark, letter_id.encode())
    assert producer.flush(30) == 0
    found = redriven(shell)
    assert (found["redriven"], found["left"]) == (2, {"already_redriven": 1})
    assert redriven(shell)["left"] == {"already_redriven": 3}
    expect(environment, "orders", Counter([good[0], good[2]]))


def test_a_transaction_takes_so_many_letters_or_so_many_bytes() -> None:
    def sizes(*records: int) -> list[int]:
        return [len(batch) for batch in batches((None, Whole(b"k", b"x" * size)) for size in records)]

    assert sizes() == []
    assert sizes(*[10] * (BATCH + 1)) == [BATCH, 1]
    assert sizes(*[BATCH_BYTES // 4] * 9) == [4, 4, 1]
    assert sizes(2 * BATCH_BYTES, 1) == [1, 1]


@pytest.mark.cases(0)
def test_letters_of_another_generation_go_back_once_whoever_puts_them_back(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec, monkeypatch
) -> None:
    """What is back is back for all generations: it is a fact about the source topics."""
    second = begin_beside(environment)
    good = [codec.encode("orders", order(n)) for n in range(4)]
    # The first and the second are refused by both generations, the third by one only, as is the last.
    theirs, before = DeadLetterWriter(environment, "g2"), DeadLetterWriter(environment, shared=True)
    for writer, offsets in ((letters, (0, 1)), (theirs, (0, 1, 2)), (before, (3,))):
        for n in offsets:
            writer.write(("orders", 0, n), good[n][1], ["unknown_schema_id"], key=good[n][0])
        writer.flush()
    assert redriven(shell, "--topic", "orders", "--partition", "0", "--offsets", "0")["redriven"] == 1

    monkeypatch.setenv("DATAFLOW_GENERATION", str(second.number))
    assert listed(shell) == ["orders/0/2", "orders/0/1", "orders/0/0"]
    found = redriven(shell)
    assert (found["wanted"], found["redriven"], found["left"]) == (3, 2, {"already_redriven": 1})
    expect(environment, "orders", Counter(good[:3]))
    assert redriven(shell)["redriven"] == 0

    monkeypatch.delenv("DATAFLOW_GENERATION")
    found = redriven(shell)
    assert (found["wanted"], found["redriven"], found["left"]) == (3, 1, {"already_redriven": 2})
    go_live(environment, second.number)
    assert redriven(shell)["left"] == {"already_redriven": 3}
    expect(environment, "orders", Counter(good))


def test_a_generation_that_was_never_started_is_named(
    shell: Shell, environment: Settings, monkeypatch
) -> None:
    monkeypatch.setenv("DATAFLOW_GENERATION", "7")
    for arguments in (("list",), ("show", "orders/0/1"), ("redrive",)):
        assert shell.run("dlq", *arguments) == FAILED
        assert "g7 was never started" in shell.err


@pytest.mark.cases(0)
def test_letters_are_chosen_by_topic_time_and_offsets(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    for n in range(6):
        key, value = codec.encode("orders", order(n))
        letters.write(("orders", n % 2, n), value, ["unknown_schema_id"], key=key, at=T0 + n * MINUTE)
    letters.flush()
    assert redriven(shell, "--topic", "payments", "--dry-run")["wanted"] == 0
    chosen = ("--topic", "orders", "--partition", "0", "--offsets")
    assert redriven(shell, *chosen, "2-4", "--dry-run")["ready"] == 2
    assert redriven(shell, *chosen, "2")["redriven"] == 1
    assert redriven(shell, "--since", "2026-05-17T09:33:00Z", "--dry-run")["ready"] == 3
    assert redriven(shell)["redriven"] == 5
    assert shell.run("dlq", "redrive", "--offsets", "2-4") == USAGE
    assert "--offsets: expected topic and partition" in shell.err
    assert shell.run("dlq", "redrive", "--topic", "orders", "--partition", "0", "--offsets", "4-2") == USAGE


def test_a_letter_that_keeps_only_a_beginning_is_taken_whole_from_its_source(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    key, value = codec.encode("orders", order(1))
    with EventProducer(
        environment.kafka_bootstrap_servers, environment.topic_prefix, codec.schema_ids
    ) as producer:
        producer.produce_raw("orders", key, value)
    [sent] = read_topic(environment.kafka_bootstrap_servers, f"{environment.topic_prefix}orders")
    place = ("orders", sent.partition(), sent.offset())
    letters.write(place, value[:50], ["too_large"], key=key, size=len(key) + len(value))
    letters.flush()
    assert redriven(shell)["redriven"] == 1
    expect(environment, "orders", Counter({(key, value): 2}))


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("failpoint", "generation"),
    [
        pytest.param("redrive.before_commit:2", 1, marks=pytest.mark.longhaul),
        ("redrive.after_commit:2", 2),
    ],
)
@pytest.mark.cases(1)
def test_a_re_drive_that_is_killed_goes_on_where_it_was(
    shell: Shell,
    environment: Settings,
    codec: EventCodec,
    monkeypatch,
    failpoint: str,
    generation: int,
) -> None:
    begin_beside(environment)
    monkeypatch.setenv("DATAFLOW_GENERATION", str(generation))
    letters = DeadLetterWriter(environment, f"g{generation}")
    good = [codec.encode("orders", order(n)) for n in range(1_200)]
    for n, (key, value) in enumerate(good):
        letters.write(("orders", n % 2, n), value, ["unknown_schema_id"], key=key)
    letters.flush()
    monkeypatch.setenv("DATAFLOW_FAILPOINT", failpoint)
    command = [sys.executable, "-m", "dataflow", "dlq", "redrive", "--json"]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -9, killed.stderr
    before = 500 if failpoint.startswith("redrive.before") else 1_000
    assert redriven(shell)["redriven"] == len(good) - before
    expect(environment, "orders", Counter(good))
    assert redriven(shell)["redriven"] == 0


def test_a_re_drive_that_fails_holds_up_nobody(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    """The topic takes only small records now, so the broker refuses one in the middle of a transaction."""
    topic = environment.topic_prefix + "orders"
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    resource.add_incremental_config(
        ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
    )
    client = admin(environment.kafka_bootstrap_servers)
    client.incremental_alter_configs([resource])[resource].result(30)
    key, value = codec.encode("orders", order(1))
    letters.write(("orders", 0, 1), value, ["unknown_schema_id"], key=key)
    letters.write(("orders", 0, 2), random.Random(1).randbytes(9_000), ["undecodable"], key=key)
    letters.flush()
    assert shell.run("dlq", "redrive", "--all", "--json") == TRY_AGAIN
    assert "Nothing is half done" in shell.err
    began = time.monotonic()
    with EventProducer(
        environment.kafka_bootstrap_servers, environment.topic_prefix, codec.schema_ids
    ) as producer:
        producer.produce_raw("orders", key, value)
    expect(environment, "orders", Counter({(key, value): 1}))
    assert time.monotonic() - began < 5
    assert redriven(shell)["redriven"] == 1


def test_without_a_registry_it_says_what_is_needed(shell: Shell, environment: Settings, monkeypatch) -> None:
    monkeypatch.setenv("KAFKA_SCHEMA_REGISTRY", "http://127.0.0.1:9")
    assert shell.run("dlq", "redrive") == TRY_AGAIN
    assert "schema registry" in shell.err

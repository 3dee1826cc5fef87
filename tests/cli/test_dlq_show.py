"""`dataflow dlq show` tells all about one refused record, and shows nobody's personal data unasked."""

import json

import pytest

from dataflow.main import FAILED, OK
from infra.kafka import admin, ensure_topics
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.topics import TOPICS
from sources.codec import EventCodec
from sources.importer.sinks import KafkaSink, RefusedLine
from sources.producer import EventProducer
from tests.cli.kit import PERSONAL, DeadLetterWriter, Shell, customer, listed, order, produced, shown, uuid
from tests.helpers import wait_for
from tests.serving.api.kit import Running


def nobody_is_named(text: str) -> bool:
    return not any(value in text or value.encode().hex() in text for value in PERSONAL.values())


def test_a_record_that_breaks_a_rule_is_shown_decoded_with_the_rules_words(
    shell: Shell, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    key, value = codec.encode("orders", order(status="lost"))
    letter = letters.write(("orders", 0, 5), value, ["status_allowed"], key=key)
    letters.flush()
    document = shown(shell, letter)
    [rule] = [r for r in CONTRACTS["orders"].rules if r.name == "status_allowed"]
    assert document["reasons"] == [{"rule": "status_allowed", "description": rule.description}]
    content = document["content"]
    assert content["schema"] == {"topic": "orders", "version": 1, "id": codec.schema_ids["orders"]}
    assert content["problems"] == []
    assert content["masked"] == ["shipping_address"]
    assert content["fields"]["shipping_address"] == "***"
    assert content["fields"]["status"] == "lost"
    assert content["fields"]["total_amount"] == "12.50"
    assert content["fields"]["occurred_at"] == "2026-05-17T09:30:00.000000Z"
    assert document["key"] == uuid(1)
    assert document["bytes"] == {"kept": len(value), "shown": 0, "hex": ""}
    assert nobody_is_named(shell.out)
    assert shell.run("dlq", "show", letter) == OK
    assert rule.description in shell.out
    assert "orders, partition 0, offset 5" in shell.out
    assert nobody_is_named(shell.out)


def test_a_truncated_record_is_shown_up_to_where_it_breaks(
    shell: Shell, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    key, value = codec.encode("customers", customer())
    letter = letters.write(("customers", 0, 5), value[:90], ["undecodable"], key=key)
    letters.flush()
    content = shown(shell, letter)["content"]
    assert content["fields"]["customer_id"] == uuid(1)
    [problem] = content["problems"]
    assert "cannot be read at byte" in problem
    assert nobody_is_named(shell.out)


def test_of_bytes_that_nobody_can_decode_only_the_first_are_shown_unless_asked_for(
    shell: Shell, letters: DeadLetterWriter
) -> None:
    value = b'{"review": 1, "by": "anna.berger@example.org"}'
    letter = letters.write(("reviews", 1, 5), value, ["wrong_magic_byte"], key=PERSONAL["email"].encode())
    letters.flush()
    document = shown(shell, letter)
    assert document["bytes"] == {"kept": len(value), "shown": 16, "hex": value[:16].hex()}
    assert document["key"] == "***"
    assert shell.run("dlq", "show", letter) == OK
    assert "7b 22 72 65" in shell.out
    assert "--bytes shows it" in shell.out
    assert nobody_is_named(shell.out)
    assert shell.run("dlq", "show", letter, "--bytes") == OK
    assert f"All {len(value)} bytes" in shell.out
    assert PERSONAL["email"] in shell.out
    assert bytes.fromhex(shown(shell, letter, "--bytes")["bytes"]["hex"]) == value


@pytest.mark.parametrize(
    ("value", "shown_of_it"),
    [
        (PERSONAL["email"].encode(), b""),  # a producer that sends plain text
        (
            b"\0\0\x7f\xff\xff" + PERSONAL["email"].encode(),
            b"\0\0\x7f\xff\xff",
        ),  # and one of whose schema nobody knows
    ],
)
def test_where_a_topic_has_personal_data_no_byte_behind_the_header_is_shown(
    shell: Shell, letters: DeadLetterWriter, value: bytes, shown_of_it: bytes
) -> None:
    letter = letters.write(("customers", 1, 6), value, ["undecodable"], key=None)
    letters.flush()
    assert shown(shell, letter)["bytes"]["hex"] == shown_of_it.hex()
    assert nobody_is_named(shell.out)


def test_the_bytes_that_a_letter_does_not_keep_come_from_the_source_topic_while_it_has_them(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    key, value = codec.encode("customers", customer())
    value += b"." * 70_000
    place = produced(environment, codec, "customers", key, value)
    size = len(key) + len(value)
    letter = letters.write(place, value[:1_000], ["too_large"], key=key, size=size)
    gone = letters.write(("customers", 0, 10**9), value[:1_000], ["too_large"], key=key, size=size)
    letters.flush()
    document = shown(shell, letter)
    assert (document["truncated"], document["bytes"]["shown"]) == (True, 0)
    assert nobody_is_named(shell.out)
    document = shown(shell, letter, "--bytes")
    assert document["truncated"]
    assert (document["bytes"]["kept"], document["bytes"]["shown"]) == (1_000, len(value))
    assert bytes.fromhex(document["bytes"]["hex"]) == value
    assert shell.run("dlq", "show", letter, "--bytes") == OK
    assert f"All {len(value):,} bytes, of which the letter keeps 1,000" in shell.out
    assert shell.run("dlq", "show", gone, "--bytes") == OK
    assert "All 1,000 bytes that are kept" in shell.out
    assert "only what the letter keeps can be shown" in shell.err


def test_once_the_source_topic_was_created_again_what_the_letter_keeps_is_shown_here_and_over_rest(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, codec: EventCodec, api: Running
) -> None:
    key, value = codec.encode("customers", customer())
    place = produced(environment, codec, "customers", key, value)
    letter = letters.write(place, value[:20], ["too_large"], key=key, size=len(key) + len(value))
    letters.flush()
    assert shown(shell, letter, "--bytes")["bytes"]["shown"] == len(value)
    client, name = admin(environment.kafka_bootstrap_servers), environment.topic_prefix + "customers"
    client.delete_topics([name])[name].result(30)
    wait_for(lambda: name not in client.list_topics(timeout=10).topics, what="the deletion")
    ensure_topics(client, {name: TOPICS["customers"]}, 2, 1)
    found = [shown(shell, letter, "--bytes"), api.http.get(f"/v1/dead-letters/{letter}?bytes=true").json()]
    assert [each["bytes"]["shown"] for each in found] == [20, 20]
    assert "only what the letter keeps can be shown" in shell.err
    assert "created again" in shell.err


def test_a_record_without_value_or_with_an_unknown_schema_says_so(
    shell: Shell, letters: DeadLetterWriter
) -> None:
    nothing = letters.write(("orders", 0, 1), None, ["null_value"], key=None)
    unknown = letters.write(("orders", 0, 2), b"\0\0\x7f\xff\xff" + b"?" * 40, ["unknown_schema_id"])
    letters.flush()
    assert shown(shell, nothing)["content"]["problems"] == ["there is no value"]
    [problem] = shown(shell, unknown)["content"]["problems"]
    assert str(0x7FFFFF) in problem or "8388607" in problem


def test_a_record_with_another_topics_schema_is_recognised(
    shell: Shell, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    key, value = codec.encode("customers", customer())
    letter = letters.write(("orders", 0, 2), value, ["unknown_schema_id"], key=key)
    letters.flush()
    content = shown(shell, letter)["content"]
    assert content["problems"] == ["written with the schema of customers"]
    assert content["fields"]["country"] == "AT"
    assert nobody_is_named(shell.out)


def test_a_refused_line_of_a_file_is_found_by_file_and_line(
    shell: Shell, environment: Settings, codec: EventCodec
) -> None:
    raw = b"17;anna.berger@example.org;x\n"
    producer = EventProducer(environment.kafka_bootstrap_servers, environment.topic_prefix, codec.schema_ids)
    with producer:
        KafkaSink(producer).refused(
            RefusedLine(
                "shop", "orders.csv", 17, raw, len(raw), ("not_a_number",), "events.0: expected a number"
            )
        )
    assert listed(shell, "--topic", "import") == ["orders.csv:17"]
    assert listed(shell, "--topic", "import:shop") == ["orders.csv:17"]
    assert shell.run("dlq", "list", "--json") == OK
    [line] = json.loads(shell.out)["letters"]
    assert line["detail"] == shown(shell, "orders.csv:17")["detail"] == "***"
    assert shown(shell, "orders.csv:17", "--bytes")["detail"] == "events.0: expected a number"
    assert listed(shell, "--topic", "import:other") == []
    assert shell.run("dlq", "show", "orders.csv:17") == OK
    assert "orders.csv, line 17, import:shop" in shell.out
    assert "may quote the line" in shell.out
    assert nobody_is_named(shell.out)
    assert shell.run("dlq", "show", "orders.csv:17", "--bytes") == OK
    assert "expected a number" in shell.out
    assert "anna.berger" in shell.out.replace("\n", "")


@pytest.mark.parametrize("letter_id", ["orders/0/999", "orders/99/1", "orders.csv:1", "what"])
def test_an_id_that_is_not_there_is_a_helpful_error(
    letter_id: str, shell: Shell, letters: DeadLetterWriter
) -> None:
    letters.write(("orders", 0, 1), b"x", ["too_short"])
    letters.flush()
    assert shell.run("dlq", "show", letter_id) == FAILED
    assert letter_id in shell.err
    assert "dataflow dlq list" in shell.err
    assert shell.out == ""

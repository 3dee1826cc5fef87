"""The pure parts of looking at dead letters: whose newest copy counts, and that damage discloses nobody."""

import io
import json
import random
from collections import Counter
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract import CONTRACTS
from schemas.evolution import plain_schema
from schemas.validate import micros
from serving.dead_letters import DeadLetter, Wanted, Writer, hex_dump, newest, reveal, scan, summarize
from sources.codec import HEADER, MAGIC, EventCodec
from tests.cli.kit import PERSONAL, customer, order
from tests.sources.generator_kit import IDS

CODEC = EventCodec(IDS)
WRITERS = {schema_id: Writer(topic, 1, schema_id, CONTRACTS[topic].avro) for topic, schema_id in IDS.items()}
BLANK = DeadLetter(
    id="orders/0/0",
    source_topic="orders",
    source_partition=0,
    source_offset=0,
    file=None,
    line=None,
    reasons=("a",),
    detail=None,
    kafka_time=0,
    written=0,
    generation="g1",
    size=0,
    truncated=False,
    null_value=False,
    topic="demo.g1.events.dead_letter",
    partition=0,
    offset=0,
    key=None,
    value=b"",
)


REVIEW = {
    **customer(),
    "review_id": "r",
    "product_id": "p",
    "rating": 3,
    "title": "Fine",
    "body": "As described.",
}


def letter(topic: str, value: bytes | None) -> DeadLetter:
    return replace(BLANK, source_topic=topic, value=value or b"", null_value=value is None)


def discloses(shown: Any) -> list[str]:
    """Pieces of four characters and more of personal data that a text holds."""
    text = str(shown)
    pieces = {v[n : n + 4] for v in PERSONAL.values() for n in range(len(v) - 3)}
    return [piece for piece in pieces if piece in text]


class Foreign:
    """A record on the dead letters' topic that some other program wrote."""

    def __init__(self, headers: dict[str, bytes]) -> None:
        self._headers = list(headers.items())

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def key(self) -> bytes:
        return b"x/0/0"

    def value(self) -> bytes:
        return b"?"

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_772_443_800_000

    def topic(self) -> str:
        return "demo.g1.events.dead_letter"

    def partition(self) -> int:
        return 0

    offset = partition


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"1772443800000000", "2026-03-02T09:30:00.000000Z"),
        (b"253402300799999999", "9999-12-31T23:59:59.999999Z"),
        (b"253402300800000000", None),
        (b"999999999999999999", None),
        (b"soon", None),
        (b"-1", None),
    ],
)
def test_a_time_that_no_calendar_has_is_none(said: bytes, shown: str | None) -> None:
    assert DeadLetter.of(Foreign({"kafka_time": said})).as_json()["kafka_time"] == shown


@pytest.mark.parametrize("topic", ["customers", "orders"])
def test_no_truncation_discloses_personal_data(topic: str) -> None:
    event = customer() if topic == "customers" else order()
    _, value = CODEC.encode(topic, event)
    for length in range(len(value)):
        content = reveal(letter(topic, value[:length]), WRITERS)
        assert content.problems
        assert not discloses(content.as_json())
    assert reveal(letter(topic, value), WRITERS).problems == ()


@pytest.mark.parametrize("topic", ["customers", "orders"])
def test_no_lost_or_changed_byte_discloses_personal_data(topic: str) -> None:
    """Where a length is damaged, what follows stands in the wrong fields."""
    event = customer() if topic == "customers" else order()
    _, value = CODEC.encode(topic, event)
    chance = random.Random(4)
    for at in range(5, len(value)):
        damaged = [value[:at] + value[at + 1 :], value[:at] + bytes([chance.randrange(256)]) + value[at:]]
        damaged += [value[:at] + bytes([chance.randrange(256)]) + value[at + 1 :] for _ in range(8)]
        for each in damaged:
            content = reveal(letter(topic, each), WRITERS)
            assert not discloses(content.as_json()), (at, each)


def test_nobody_is_named_by_a_producer_who_calls_it_otherwise() -> None:
    """Fields renamed by alias and without a mark, and one that the contract has not heard of."""
    schema = json.loads(CONTRACTS["customers"].avro_json)
    specs = [{name: v for name, v in spec.items() if name != "pii"} for spec in schema["fields"]]
    renamed = [
        {**spec, "name": f"their_{spec['name']}", "aliases": [spec["name"]]}
        if spec["name"] != "customer_id"
        else spec
        for spec in specs
    ]
    more = [
        {"name": "nickname", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "visits", "type": "int", "default": 0},
    ]
    written = {**schema, "fields": [*renamed, *more]}
    event = customer()
    record = {spec["name"]: event.get((spec.get("aliases") or [spec["name"]])[0]) for spec in renamed}
    record |= {"nickname": PERSONAL["email"], "tags": [PERSONAL["email"]], "visits": 7}
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(json.dumps(written))), record)
    value = HEADER.pack(MAGIC, 901) + body.getvalue()
    content = reveal(letter("customers", value), {901: Writer("customers", 2, 901, written)})
    assert content.problems == ()
    assert not discloses(content.as_json())
    # A number that nobody has heard of may be that of a phone.
    assert {"their_email", "their_last_name", "nickname", "tags", "visits"} <= set(content.masked)
    assert content.fields["their_country"] == event["country"]


def test_a_record_of_a_topic_without_personal_data_is_shown_as_far_as_it_goes() -> None:
    _, value = CODEC.encode("reviews", REVIEW)
    content = reveal(letter("reviews", value + b"??"), WRITERS)
    assert content.fields["title"] == "Fine"
    assert content.masked == ()
    assert content.problems == ("2 bytes are left over behind the record",)


def test_a_text_that_is_no_utf8_and_an_oversized_number_are_named() -> None:
    _, value = CODEC.encode("orders", order())
    broken = value.replace(b"placed", b"pl\xffced")
    assert reveal(letter("orders", broken), WRITERS).problems == ("status is not UTF-8",)


def test_whatever_a_schema_nests_is_told_as_json_can_have_it() -> None:
    schema = json.loads(CONTRACTS["reviews"].avro_json)
    money = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
    more = {
        "local": {"type": "long", "logicalType": "local-timestamp-micros"},
        "on": {"type": "int", "logicalType": "date"},
        "raw": {"type": "array", "items": "bytes"},
        "price": {"type": "record", "name": "price", "fields": [{"name": "amount", "type": money}]},
        "size": {"type": "enum", "name": "size", "symbols": ["S", "M"]},
        "hash": {"type": "fixed", "name": "hash", "size": 2},
        "ratio": "double",
        "nothing": "null",
    }
    written = {**schema, "fields": [*schema["fields"], *({"name": n, "type": t} for n, t in more.items())]}
    at = datetime.fromisoformat("2026-03-01T12:30:00")
    record = REVIEW | {
        "local": at, "on": at.date(), "raw": [b"\xff"], "price": {"amount": Decimal("9.50")}, "size": "M",
        "hash": b"ab", "ratio": float("nan"), "nothing": None,
    }  # fmt: skip
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(json.dumps(written))), record)
    value = HEADER.pack(MAGIC, 902) + body.getvalue()
    content = reveal(letter("reviews", value), {902: Writer("reviews", 2, 902, written)})
    assert content.problems == ()
    fields = json.loads(orjson.dumps(content.as_json()))["fields"]
    assert {name: fields[name] for name in more} == {
        "local": "2026-03-01T12:30:00", "on": "2026-03-01", "raw": ["b'\\xff'"], "price": {"amount": "9.50"},
        "size": "M", "hash": "b'ab'", "ratio": "nan", "nothing": None,
    }  # fmt: skip


def test_a_text_that_is_not_what_its_logical_type_says_discloses_nothing() -> None:
    schema = json.loads(CONTRACTS["customers"].avro_json)
    for spec in schema["fields"]:
        if spec["name"] == "customer_id":
            spec["type"] = {"type": "string", "logicalType": "uuid"}
    body = io.BytesIO()
    bare = fastavro.parse_schema(json.loads(plain_schema(schema, {})))
    event = {**customer(), "customer_id": PERSONAL["email"]}
    event |= {name: micros(value) for name, value in event.items() if isinstance(value, datetime)}
    fastavro.schemaless_writer(body, bare, event)
    value = HEADER.pack(MAGIC, 903) + body.getvalue()
    content = reveal(letter("customers", value), {903: Writer("customers", 2, 903, schema)})
    assert content.problems == ("customer_id is not what its type demands, its value is uncertain",)
    assert content.fields["customer_id"] == "***"
    assert not discloses(content.as_json())


@pytest.mark.parametrize("topic", ["customers", "reviews"])
def test_a_time_that_no_calendar_has_hides_nothing_behind_it(topic: str) -> None:
    event = customer() if topic == "customers" else REVIEW
    body = io.BytesIO()
    bare = fastavro.parse_schema(json.loads(plain_schema(CONTRACTS[topic].avro, {})))
    times = {n: 10**18 for n, field in CONTRACTS[topic].fields.items() if field.type == "timestamp"}
    assert times
    fastavro.schemaless_writer(body, bare, {**event, **times})
    value = HEADER.pack(MAGIC, IDS[topic]) + body.getvalue()
    content = reveal(letter(topic, value), WRITERS)
    assert list(content.fields) == list(CONTRACTS[topic].fields)
    assert {content.fields[name] for name in times} == {10**18}
    assert len(content.problems) == len(times)
    assert all("that no calendar has" in problem for problem in content.problems)
    # The bytes are sound, so what is nobody's is shown.
    shown = "country" if topic == "customers" else "title"
    assert content.fields[shown] == event[shown]
    assert not discloses(content.as_json())


@given(st.binary(max_size=200), st.sampled_from(sorted(IDS)))
def test_any_bytes_can_be_shown(data: bytes, topic: str) -> None:
    framed = b"\0" + IDS[topic].to_bytes(4, "big") + data
    for value in (data, framed):
        reveal(letter(topic, value), WRITERS).as_json()
        assert all(len(row) <= 76 for row in hex_dump(value, text=True))


def oracle(letters: list[DeadLetter], wanted: Wanted) -> list[DeadLetter]:
    """Everything kept, then chosen from."""
    last = {each.id: each for each in letters}
    return sorted((e for e in last.values() if wanted.matches(e)), key=lambda e: e.order, reverse=True)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.sampled_from(["a", "b"])), max_size=120),
    st.integers(1, 4),
    st.sampled_from([Wanted(), Wanted(reason="a"), Wanted(since=2, until=4)]),
)
def test_the_newest_are_found_in_little_room_as_in_all_room(
    made: list[tuple[int, int, str]], limit: int, wanted: Wanted
) -> None:
    letters = [
        replace(BLANK, id=f"orders/0/{n}", kafka_time=at, reasons=(reason,), offset=offset)
        for offset, (n, at, reason) in enumerate(made)
    ]
    expected = oracle(letters, wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "KEPT_AT_LEAST", 1)
        found, more = newest(lambda: letters, wanted, limit)
    assert found == expected[:limit]
    assert more or len(expected) <= limit
    total, counts = summarize(letters, wanted)
    assert total == len(expected)
    assert counts == Counter(("orders", reason) for each in expected for reason in each.reasons)

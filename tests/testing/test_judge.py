"""The judge for tests decides as a second opinion does, on events and on any bytes."""

import pytest

from dataflow.testing import Clock, Events, Judge, Verdict
from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS
from schemas.errors import EventError
from schemas.validate import micros
from tests.sources.generator_kit import ALL_UP, ARRIVAL, CODEC, IDS, history, reasons

# The second opinion goes by other names where it finds the same.
SAME = {"wrong_key": "key_is_not_entity_id", "unknown_schema_id": "unknown_schema_id"}


def test_it_refuses_what_a_second_opinion_refuses() -> None:
    known = {topic: [RegisteredSchema(IDS[topic], 1, c.avro_json)] for topic, c in CONTRACTS.items()}
    judge = Judge(known, IDS)
    emissions, _ = history(ALL_UP)
    refused = 0
    for topic, _, key, value, *_ in emissions[:6_000]:
        verdict = judge(topic, value, key=key, kafka_time=micros(ARRIVAL))
        expected = reasons(topic, key, value)
        assert verdict.accepted == (not expected), (verdict, expected)
        if verdict.accepted:
            sent = CODEC.decode(topic, value)
            fields = CONTRACTS[topic].fields
            assert set(verdict.event) == {n for n, v in sent.items() if v is not None and not fields[n].pii}
        refused += not verdict.accepted
    assert refused > 300


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"\0\0", "too_short"),
        (b"\1\0\0\0\1abc", "wrong_magic_byte"),
        (b"\0\0\0\0\x7fabc", "unknown_schema_id"),
        (b"\0" * 262_145, "too_large"),
    ],
)
def test_any_bytes_get_a_verdict(judge: Judge, value: bytes | None, reason: str) -> None:
    verdict = judge("orders", value)
    assert verdict.reasons == (reason,)
    assert verdict.kind == ("undecided" if reason == "unknown_schema_id" else "refused")
    assert verdict.event is None


def test_the_key_is_the_events_own_unless_another_one_is_given(judge: Judge, events: Events) -> None:
    key, value = judge.encode("orders", events("orders"))
    assert judge("orders", value).accepted
    assert judge("orders", value, key=key).accepted
    assert judge("orders", value, key=None).reasons == ("null_key",)
    assert judge("orders", value, key=b"somebody").reasons == ("key_is_not_entity_id",)
    assert judge("orders", value + b"\0").reasons == ("not_canonical",)
    assert judge("orders", value[:-3]).reasons == ("undecodable",)


def test_rules_and_warnings_are_told(judge: Judge, events: Events, clock: Clock) -> None:
    assert judge("orders", {"total_amount": "-1", "status": "lost"}).reasons == (
        "status_allowed",
        "total_amount_minimum",
    )
    made = clock.now()
    clock.advance(hours=1)
    earlier = judge("orders", {"created_at": clock.now(), "updated_at": made})
    assert earlier.accepted
    assert earlier.warnings == ("updated_after_created",)
    clock.advance(days=-9)
    assert judge("orders", events("orders", order_date=made)).reasons == ("order_date_in_range",)


def test_money_is_in_minor_units_and_times_are_in_microseconds(judge: Judge, clock: Clock) -> None:
    verdict = judge("orders", {"total_amount": "129.90", "shipping_address": "Herrengasse 1"})
    assert verdict.event["total_amount"] == 12_990
    assert verdict.event["order_date"] == verdict.kafka_time == clock.micros()
    assert "shipping_address" not in verdict.event
    assert "customer_id" not in verdict.event
    assert Verdict.of(verdict.as_json()) == verdict


def test_a_repeat_has_the_same_content_and_another_row_another(judge: Judge, events: Events) -> None:
    order = events("orders", total_amount="5.00")
    again = {**order, "event_id": events.ids(), "occurred_at": events.clock.advance(hours=1)}
    assert judge("orders", order).content == judge("orders", again).content
    assert judge("orders", order).content != judge("orders", {**order, "shipping_address": "x"}).content


def test_what_no_producer_could_send_is_an_error(judge: Judge) -> None:
    with pytest.raises(EventError, match="orders: the event is no Orders record"):
        judge("orders", {"total_amount": "1.005"})
    with pytest.raises(EventError):
        judge("orders", {"order_date": None})


def test_a_verdict_larger_than_its_record_may_be_too_large() -> None:
    judge = Judge(max_bytes=2_000)
    assert judge("reviews", {"body": "x" * 1_500}).accepted
    assert judge("reviews", {"body": "a" + "\x01" * 1_500 + "a"}).reasons == ("verdict_too_large",)

"""JSON documents become typed events by the contract: exact, complete, and without personal data in any reason."""

import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract import CONTRACTS
from schemas.validate import violations
from serving.api.ingest.typed import Accepted, Refused, idempotent_id, judge
from serving.api.json_document import parse
from sources.codec import EventCodec
from tests.serving.api.documents import CUSTOMER, ITEM, ORDER, VIEW, without

NOW = datetime(2026, 5, 17, 9, 30, tzinfo=UTC)
NOW_MICROS = 1_779_010_200_000_000
ID = "11111111-2222-4333-8444-555555555555"
CODEC = EventCodec(dict.fromkeys(CONTRACTS, 1))


def accepted(topic: str, document: dict[str, Any]) -> Accepted:
    found = judge(topic, document, ID, NOW)
    assert isinstance(found, Accepted), found
    return found


def reasons(topic: str, document: dict[str, Any]) -> dict[str, str]:
    found = judge(topic, document, ID, NOW)
    assert isinstance(found, Refused), found
    return {each["rule"]: each["reason"] for each in found.as_json()}


def test_what_is_missing_of_a_change_is_filled_in():
    found = accepted("orders", ORDER)
    filled = {name: found.event[name] for name in ("event_id", "op", "occurred_at", "source")}
    assert filled == {"event_id": ID, "op": "c", "occurred_at": NOW, "source": "rest"}
    assert found.needs_version
    assert found.with_version(7).event["version"] == 7
    assert not found.with_version(7).needs_version


def test_what_is_missing_of_a_click_is_filled_in():
    found = accepted("clickstream", VIEW)
    assert (found.event_id, found.event["occurred_at"]) == (ID, NOW)
    assert not found.needs_version
    assert "version" not in found.event


def test_what_is_there_is_kept():
    given = {"event_id": str(uuid.UUID(int=5)), "op": "u", "source": "till", "version": 3}
    found = accepted("orders", {**ORDER, **given, "occurred_at": "2026-05-17T08:00:00Z"})
    assert given.items() <= found.event.items()
    assert found.event["occurred_at"] == datetime(2026, 5, 17, 8, tzinfo=UTC)
    assert not found.needs_version


def test_null_counts_as_missing():
    assert accepted("orders", {**ORDER, "event_id": None, "version": None, "op": None}).event["op"] == "c"


def test_a_default_of_the_contract_is_filled_in():
    assert accepted("order_items", without(ITEM, "discount")).event["discount"] == Decimal("0.00")


@pytest.mark.parametrize("amount", ["19.99", Decimal("19.99"), Decimal("19.990"), "19.9900", "019.99"])
def test_money_as_string_or_number_is_the_same(amount):
    event = accepted("orders", {**ORDER, "total_amount": amount}).event
    assert str(event["total_amount"]) == "19.99"


@pytest.mark.parametrize(("amount", "exact"), [(20, "20.00"), (Decimal("1E+2"), "100.00"), ("0", "0.00")])
def test_whole_money_gets_its_decimals(amount, exact):
    assert str(accepted("orders", {**ORDER, "total_amount": amount}).event["total_amount"]) == exact


@pytest.mark.parametrize(
    "amount",
    [
        "12.345",
        Decimal("12.345"),
        "99999999999.00",
        Decimal("1E+999999"),
        "1e2",
        "NaN",
        " 1.00",
        "",
        "1,00",
        "٣",
        True,
        [],
        {},
        "-1.00",
        -1,
        "1" * 41,
    ],
)
def test_money_that_is_none_is_refused(amount):
    rules = reasons("orders", {**ORDER, "total_amount": amount})
    assert set(rules) <= {"total_amount_type", "total_amount_minimum"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-17T09:30:00Z", NOW),
        ("2026-05-17t09:30:00z", NOW),
        ("2026-05-17 11:30:00+02:00", NOW),
        ("2026-05-17T09:30:00.000000000Z", NOW),
        ("2026-05-17T09:29:59.999999Z", NOW - timedelta(microseconds=1)),
    ],
)
def test_a_time_is_kept_to_the_microsecond_in_utc(text, expected):
    assert accepted("orders", {**ORDER, "order_date": text}).event["order_date"] == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-05-17T09:30:00", "expected a time zone"),
        ("2026-05-17", "expected a time as in RFC 3339"),
        ("2026-05-17T09:30Z", "expected a time as in RFC 3339"),
        ("2026-02-30T09:30:00Z", "expected a day and a time of day that exist"),
        ("2026-05-17T24:30:00Z", "expected a day and a time of day that exist"),
        ("2026-05-17T09:30:00+25:00", "expected a day and a time of day that exist"),
        ("0001-01-01T00:00:00+23:59", "expected a day and a time of day that exist"),
        ("2026-05-17T09:30:00.1234567Z", "at most 6 digits"),
        (1_779_010_200, "saw a number"),
        ([], "saw an array"),
    ],
)
def test_a_time_that_is_none_is_refused_with_the_reason(text, reason):
    assert reason in reasons("orders", {**ORDER, "order_date": text})["order_date_type"]


def test_each_type_says_what_it_expected():
    found = reasons("order_items", {**ITEM, "quantity": Decimal("1.5"), "order_id": 7, "unit_price": None})
    assert "whole number" in found["quantity_type"]
    assert found["order_id_type"] == "order_id: expected a string; saw a number"
    assert "quantity_type" in reasons("order_items", {**ITEM, "quantity": True})


def test_an_unknown_field_is_refused():
    assert "no field 'colour'" in reasons("orders", {**ORDER, "colour": "red"})["unknown_field"]


def test_half_a_surrogate_pair_never_gets_into_an_answer():
    found = judge("orders", {**ORDER, "\ud800": 1}, ID, NOW)
    assert "�" in found.as_json()[0]["reason"] or "\\ud800" in found.as_json()[0]["reason"]
    assert "source_type" in reasons("orders", {**ORDER, "source": "\ud800"})


def test_all_broken_rules_are_named_at_once():
    broken = {"status": "lost", "shipping_country": "XX", "order_id": "7", "total_amount": "-1.00"}
    found = reasons("orders", {**ORDER, **broken})
    assert set(found) == {
        "order_id_is_uuid",
        "shipping_country_is_country",
        "status_allowed",
        "total_amount_minimum",
    }


def test_personal_data_is_never_repeated():
    secret = "Jane Roe of Elm Street"
    for name in CONTRACTS["customers"].pii_fields:
        for value in (f" {secret} ", secret * 100, [secret], {secret: secret}, 7):
            for reason in reasons("customers", {**CUSTOMER, name: value}).values():
                assert secret not in reason


def test_the_same_key_and_line_give_the_same_id_and_no_other():
    ids = {
        idempotent_id(caller, topic, key, line)
        for caller in ("", "till")
        for topic in ("orders", "payments")
        for key in ("a", "b")
        for line in (1, 2)
    }
    assert len(ids) == 16
    assert idempotent_id("", "orders", "a", 1) in ids
    assert {str(uuid.UUID(each)) for each in ids} == ids


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
DOCUMENTS = {"orders": ORDER, "order_items": ITEM, "customers": CUSTOMER, "clickstream": VIEW}


@given(st.data(), st.sampled_from(sorted(DOCUMENTS)))
def test_whatever_is_accepted_fits_the_contract_and_can_be_written(data, topic):
    names = st.sampled_from(sorted(CONTRACTS[topic].fields)) | st.text(max_size=8)
    changes = data.draw(st.dictionaries(names, anything, max_size=4))
    found = judge(topic, {**DOCUMENTS[topic], **changes}, ID, NOW)
    if isinstance(found, Refused):
        assert found.as_json()
        return
    event = found.with_version(1).event if found.needs_version else found.event
    assert violations(topic, event, NOW_MICROS) == []
    assert CODEC.decode(topic, CODEC.encode(topic, event)[1]).items() >= event.items()


@given(
    st.decimals(min_value=0, max_value=Decimal("9999999999.99"), places=2),
    st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(2026, 5, 17)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_amounts_and_times_survive_the_way_to_avro_and_back(amount, naive, minutes):
    at = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    document = {**ORDER, "total_amount": str(amount), "order_date": at.isoformat()}
    event = accepted("orders", document).with_version(1).event
    decoded = CODEC.decode("orders", CODEC.encode("orders", event)[1])
    assert decoded["total_amount"] == amount
    assert decoded["order_date"] == at


@pytest.mark.parametrize(
    "amount",
    ["1e9999999", "-1e9999999", "1e-9999999", "1e999999999999999999", "1e10", "NaN", "Infinity", "sNaN"],
)
def test_a_number_with_any_exponent_is_a_violation_and_no_error(amount):
    number = Decimal(amount)
    assert "before" in reasons("orders", {**ORDER, "total_amount": number})["total_amount_type"]
    found = violations("orders", {**accepted("orders", ORDER).event, "total_amount": number}, NOW_MICROS)
    assert "total_amount_type" in [each.rule for each in found]


@pytest.mark.parametrize("amount", ["0e9999999", "0e-9999999", "-0e9999999"])
def test_zero_is_zero_with_any_exponent(amount):
    assert accepted("orders", {**ORDER, "total_amount": Decimal(amount)}).event["total_amount"] == 0


def test_each_line_of_a_batch_is_judged_for_itself_whatever_its_numbers():
    raw = orjson.dumps(without(ORDER, "total_amount"))[:-1]
    lines = [raw + b',"total_amount":' + number + b"}" for number in (b"1e9999999", b"1e-9999999", b"19.99")]
    kinds = [type(judge("orders", parse(line), ID, NOW)) for line in lines]
    assert kinds == [Refused, Refused, Accepted]

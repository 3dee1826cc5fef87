"""The importer's checker and `schemas.validate.violations` give the same answer, whatever came before."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.contract import CONTRACTS, load_contract
from schemas.validate import EPOCH, violations
from sources.importer.checker import Checker
from tests.sources.importer_kit import NOW

UUIDS = ["6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7B810-9dad-11d1-80b4-00c04fd430c8", "not-a-uuid"]
WORDS = [
    "",
    " ",
    "x",
    "x ",
    "c",
    "placed",
    "refunded",
    "card",
    "GB",
    "XX",
    "ada@example.org",
    "@",
    "é",
    "\ud800",
    "x" * 501,
    *UUIDS,
    None,
]
VALUES = {
    "string": st.sampled_from(WORDS),
    "int": st.sampled_from([-1, 0, 1, 3, 5, 6, 2**31 - 1, 2**31, None]),
    "long": st.sampled_from([-1, 0, 1, 2**63 - 1, 2**63, None]),
    "decimal": st.sampled_from(
        [*map(Decimal, ("-0.01", "0", "0.00", "1.50", "1.5", "1.555", "99999999.99", "1e10", "NaN")), None]
    ),
    "timestamp": st.sampled_from(
        [
            datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
            datetime(2000, 1, 1, tzinfo=UTC),
            datetime(2011, 5, 5),  # noqa: DTZ001 - a violation
            datetime(2011, 5, 5, tzinfo=UTC),
            EPOCH + timedelta(microseconds=NOW + 86_400_000_000),
            EPOCH + timedelta(microseconds=NOW + 86_400_000_001),
            None,
        ]
    ),
}
GOOD_TEXT = {"uuid": UUIDS[0], "country": "GB", "email": "ada@example.org", None: "x"}


def good(field):
    """A value that fits, so that events are accepted too and the memory fills."""
    if field.type == "string":
        return (
            field.attributes["one_of"][0]
            if "one_of" in field.attributes
            else GOOD_TEXT[field.attributes.get("format")]
        )
    return {"int": 3, "long": 3, "decimal": Decimal("1.50"), "timestamp": datetime(2011, 5, 5, tzinfo=UTC)}[
        field.type
    ]


@pytest.mark.parametrize("topic", CONTRACTS)
def test_the_checker_agrees_with_the_contract_whatever_it_saw_before(topic):
    checker = Checker(NOW)
    fields = CONTRACTS[topic].fields
    changes = st.fixed_dictionaries({}, optional={name: VALUES[field.type] for name, field in fields.items()})
    base = {name: good(field) for name, field in fields.items()}
    assert violations(topic, base, NOW) == []

    @settings(max_examples=120, deadline=None, derandomize=True)
    @given(changed=changes, keep=st.integers(1, 4))
    def agrees(changed, keep):
        event = {**base, **dict(list(changed.items())[:keep])}
        assert checker.violations(topic, event) == violations(topic, event, NOW)

    agrees()


def test_fields_that_are_called_as_statements_begin_are_checked_like_any(tmp_path, monkeypatch):
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    fields = [
        {"name": "event_id", "type": "string"},
        *({"name": name, "type": moment} for name in ("occurred_at", "begin", "load")),
        *({"name": name, "type": "int", "minimum": 1} for name in ("comment", "update")),
    ]
    avro = {"type": "record", "name": "call", "dataflow.key": "event_id", "dataflow.entity_id": "event_id"}
    (tmp_path / "avro").mkdir()
    (tmp_path / "avro" / "calls.avsc").write_text(json.dumps({**avro, "fields": fields}))
    monkeypatch.setitem(CONTRACTS, "calls", load_contract("calls", tmp_path))
    fine = {each["name"]: EPOCH + timedelta(microseconds=NOW) for each in fields if each["type"] == moment}
    fine |= {"event_id": "a", "comment": 1, "update": 1}
    for event in (fine, {**fine, "begin": EPOCH, "comment": 0}, {**fine, "load": EPOCH, "update": 0}):
        assert Checker(NOW).violations("calls", event) == violations("calls", event, NOW)
    assert [each.rule for each in violations("calls", {**fine, "load": EPOCH}, NOW)] == ["load_in_range"]

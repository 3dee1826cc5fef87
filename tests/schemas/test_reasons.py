"""Why an event is refused, in words: what was seen, but never a person's."""

import json
from decimal import Decimal
from typing import Any

import pytest

from schemas.contract import CONTRACTS, load_contract
from schemas.validate import violations
from serving.api.openapi.events import event_schema

CALLS = {
    "type": "record",
    "name": "call",
    "dataflow.key": "source",
    "dataflow.entity_id": "event_id",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "source", "type": "string"},
        {"name": "phone", "type": "int", "pii": True},
        {"name": "pieces", "type": "int"},
        {
            "name": "pay",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
            "pii": True,
        },
        {"name": "fee", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}},
    ],
}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Facts of which some fields are a person's, with names that a change has for something else."""
    (tmp_path / "avro").mkdir()
    (tmp_path / "avro" / "calls.avsc").write_text(json.dumps(CALLS))
    contract = load_contract("calls", tmp_path)
    monkeypatch.setitem(CONTRACTS, "calls", contract)
    return contract


@pytest.mark.parametrize(
    ("name", "value", "is_told"),
    [
        ("phone", 4366012345678, False),
        ("pieces", 4366012345678, True),
        ("pay", Decimal("123456.78"), False),
        ("pay", Decimal("NaN"), False),
        ("fee", Decimal("123456.78"), True),
    ],
)
def test_no_number_of_a_person_is_repeated(calls, name: str, value: Any, is_told: bool) -> None:
    event = {"event_id": "a", "source": "s", "phone": 1, "pieces": 1, "pay": Decimal(1), "fee": Decimal(1)}
    [found] = [each for each in violations("calls", {**event, name: value}, 0) if each.rule == f"{name}_type"]
    assert (str(value) in found.reason) == is_told
    assert name in found.reason


def test_of_a_fact_only_what_the_ingest_gives_it_may_be_left_out(calls) -> None:
    assert event_schema(calls)["required"] == ["source", "phone", "pieces", "pay", "fee"]
    assert "source" not in event_schema(CONTRACTS["orders"])["required"]

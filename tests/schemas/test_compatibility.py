"""A field keeps all names that it ever had, so that who looks for it by any of them finds it. Pure."""

from dataclasses import replace

import pytest

from schemas.compatibility import (
    backward_objections,
    forgotten_names,
    record_of,
    same_fields,
    with_former_names,
)
from schemas.contract import CONTRACTS
from schemas.evolution import projection

V1 = [{"name": "amount", "type": "long"}]
V2 = [{"name": "total", "type": "long", "aliases": ["amount"]}]
V3 = [{"name": "sum", "type": "long", "default": 0, "aliases": ["total"]}]


def version(fields: list[dict]) -> dict:
    return {"type": "record", "name": "x", "fields": fields}


def names_of(earlier: list[list[dict]], newer: list[dict]) -> list[list[str]]:
    found = with_former_names([version(each) for each in earlier], version(newer))
    return [[spec["name"], *spec.get("aliases", ())] for spec in found["fields"]]


def test_a_second_rename_that_forgets_the_first_name_is_objected_to_with_what_to_write() -> None:
    [told] = forgotten_names([version(V1), version(V2)], version(V3))
    assert "sum was called amount before" in told
    assert told.endswith("its aliases have to be total, amount")
    assert (
        forgotten_names([version(V1), version(V2)], version([{**V3[0], "aliases": ["total", "amount"]}]))
        == []
    )


def test_so_is_an_alias_that_is_taken_away() -> None:
    [told] = forgotten_names([version(V1), version(V2)], version([{"name": "total", "type": "long"}]))
    assert told.endswith("its aliases have to be amount")


def test_the_contract_needs_but_one_name_of_each_version() -> None:
    """It looks for its fields by the names of both sides: what it is called in the contract may be its first name."""
    assert forgotten_names([version(V1), version(V2)], version(V1)) != []
    assert forgotten_names([version(V1), version(V2)], version(V1), all_names=False) == []
    [told] = forgotten_names([version(V1), version(V2)], version(V3), all_names=False)
    assert told.endswith("its aliases have to be total, amount")


def test_schemas_are_the_same_by_their_fields() -> None:
    text = {**V2[0], "type": {"type": "long"}, "doc": "x"}
    assert same_fields(version(V2), version([text]))
    assert same_fields(version(V1), version([{**V1[0], "aliases": []}]))
    assert not same_fields(version(V2), version([{**text, "aliases": []}]))
    assert not same_fields(version(V2), version([{**text, "type": "int"}]))
    assert not same_fields(version(V2), version([{**text, "default": None}]))


@pytest.mark.parametrize(
    "newer",
    [
        V2,
        [],  # dropped
        [
            {"name": "total", "type": "long"},
            {"name": "amount", "type": "long", "default": 0},
        ],  # another one is called so
        [{"name": "note", "type": "string", "default": ""}],
    ],
)
def test_nothing_else_is(newer: list[dict]) -> None:
    assert forgotten_names([version(V1), version(V2)], version(newer)) == []


def test_names_are_followed_through_any_number_of_versions() -> None:
    assert names_of([V1, V2], V3) == [["sum", "total", "amount"]]
    # In between another name was left out; or the first one is back.
    assert names_of([V1, V2], [{"name": "sum", "type": "long", "aliases": ["amount"]}]) == [
        ["sum", "amount", "total"]
    ]
    assert names_of([V1, V2], V1) == [["amount", "total"]]
    assert names_of([V1, V2, []], V3) == [["sum", "total", "amount"]]
    fourth = [{"name": "net", "type": "long", "aliases": ["sum"]}]
    assert names_of([V1, V2, V3], fourth) == [["net", "sum", "total", "amount"]]
    same = version(V2)
    assert with_former_names([version(V1)], same) is same


def test_a_name_that_another_field_has_by_now_or_had_later_is_left_to_that() -> None:
    amount, total = {"name": "amount", "type": "long"}, {"name": "total", "type": "long"}
    mended = [{"name": "sum", "type": "long", "aliases": ["amount"]}, total]
    assert names_of([V1, V2], mended) == [["sum", "amount"], ["total"]]
    beside = [total, amount]
    assert names_of([V1, V2], beside) == [["total"], ["amount"]]
    assert names_of([V1, V2, beside], [total]) == [["total"]]
    assert forgotten_names([version(V1), version(V2), version(beside)], version([total])) == []


def test_what_is_no_record_has_no_names() -> None:
    assert [record_of(text) for text in ('"string"', 'syntax = "proto3";', '{"type": "enum"}', "")] == [
        None
    ] * 4
    assert record_of('{"type": "record", "fields": []}') == {"type": "record", "fields": []}


def test_so_the_contract_finds_what_was_renamed_twice() -> None:
    contract = CONTRACTS["orders"]
    renamed = dict(contract.avro)
    versions: list[dict] = [renamed]
    for before, after in (("shipping_country", "country"), ("country", "land")):
        fields = [
            {**spec, "name": after, "aliases": [before]} if spec["name"] == before else spec
            for spec in versions[-1]["fields"]
        ]
        versions.append({**renamed, "fields": fields})
    assert (
        projection(contract, with_former_names(versions[:-1], versions[-1]))["shipping_country"].name
        == "land"
    )


def test_so_it_does_where_both_sides_have_but_an_alias_in_common() -> None:
    contract = CONTRACTS["orders"]
    field = replace(contract.fields["shipping_country"], name="land", aliases=("shipping_country",))
    renamed = {name: each for name, each in contract.fields.items() if name != "shipping_country"} | {
        "land": field
    }
    writer = [
        {**spec, "name": "country", "aliases": ["shipping_country"]}
        if spec["name"] == "shipping_country"
        else spec
        for spec in contract.avro["fields"]
    ]
    found = projection(replace(contract, fields=renamed), {**contract.avro, "fields": writer})
    assert found["land"].name == "country"
    before = {**contract.avro, "fields": [{**spec} for spec in contract.avro["fields"]]}
    after = [{**spec, "name": "land"} if spec["name"] == "country" else spec for spec in writer]
    assert forgotten_names([before, version(writer)], version(after), all_names=False) == []


def test_what_a_reader_cannot_read_is_told_field_by_field() -> None:
    older = version([{"name": "a", "type": ["null", "int"]}, {"name": "b", "type": "string"}])
    newer = version(
        [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}, {"name": "c", "type": "int"}]
    )
    optional, other, new = backward_objections(older, newer)
    assert optional.startswith("a was optional")
    assert other.startswith("b was string")
    assert new.startswith("c has no default")

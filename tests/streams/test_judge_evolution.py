"""Records of every other version of a schema are read as the contract wants them, or refused; never misread."""

import io
import json
import os
import random
from collections import Counter
from datetime import datetime
from decimal import Decimal

import fastavro
import pytest

from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS
from schemas.errors import ContractError
from schemas.evolution import projection
from schemas.validate import micros
from sources.codec import HEADER, MAGIC
from streams.judge import judge
from streams.plain_judge import PlainJudge
from tests.sources.generator_kit import ALL_UP, ARRIVAL, IDS, history, reasons
from tests.streams.test_judge import MAX_BYTES, SCHEMA, judged

SEED = os.environ.get("CHAOS_SEED", "7")  # of what is damaged and how
TOPIC = "order_items"
CONTRACT = CONTRACTS[TOPIC]
LONG, TIME = "long", {"type": "long", "logicalType": "timestamp-micros"}


def changed(**changes):
    """The contract's schema with fields replaced (by their name) or, under a new name, added."""
    schema = json.loads(CONTRACT.avro_json)
    specs = {spec["name"]: spec for spec in schema["fields"]}
    for name, change in changes.items():
        if change is None:
            del specs[name]
        else:
            specs[name] = {**specs.get(name, {"name": name}), **change}
    return {**schema, "fields": list(specs.values())}


MONEY_WIDE = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}
MONEY_FINE = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
WIDER = {"int": "long", "timestamp": MILLIS}
EVOLUTIONS = {
    "a field added": changed(gift_note={"type": ["null", "string"], "default": None}),
    "given a default": changed(quantity={"default": 1}),
    "an integer widened": changed(quantity={"type": "long"}),
    "money widened": changed(unit_price={"type": MONEY_WIDE}),
    "money with more digits": changed(unit_price={"type": MONEY_FINE}),
    "made optional": changed(quantity={"type": ["null", "int"], "default": None}),
    "optional, null last": changed(quantity={"type": ["int", "null"], "default": 1}),
    "renamed by alias": changed(quantity={"name": "pieces", "aliases": ["quantity"]}),
    "another order": {**changed(), "fields": changed()["fields"][::-1]},
    "times in milliseconds": changed(occurred_at={"type": MILLIS}),
    "a map added": changed(labels={"type": {"type": "map", "values": "string"}, "default": {}}),
}
IMPOSSIBLE = {
    "a required field dropped": changed(quantity=None),
    "another type": changed(quantity={"type": "string"}),
    "no record": {"type": "enum", "name": "e", "symbols": ["a"]},
    "one field for two": changed(occurred_at=None, created_at={"aliases": ["occurred_at"]}),
}


def random_record(schema, event, chance):
    """`event` under another schema; now and then with a value that the contract cannot hold."""
    record = {}
    for spec in schema["fields"]:
        name = next((n for n in (spec["name"], *spec.get("aliases", ())) if n in event), None)
        kind = spec["type"]
        wild = chance.random() < 0.15
        if name is None:
            record[spec["name"]] = (
                {"map": {"b": "1", "a": "2"}}.get(kind["type"], "x") if isinstance(kind, dict) else "x"
            )
            continue
        value = event[name]
        if isinstance(kind, list) and name == "quantity" and wild:
            value = None
        elif kind == LONG and name == "quantity" and wild:
            value = chance.choice((2**31, -(2**31) - 1, 2**40))
        elif kind == MONEY_WIDE and wild:
            value = Decimal("123456789012345.67")
        elif kind == MONEY_FINE and wild:
            value = chance.choice((Decimal("1.2345"), Decimal("99999999999999.9900")))
        elif kind == MONEY_FINE:
            value = value.quantize(Decimal("0.0001"))
        record[spec["name"]] = value
    return record


def changed_throughout(contract):
    """All at once that can be read: a field added, the others in another order, wider, optional, renamed by alias."""
    schema = json.loads(contract.avro_json)
    fields = [
        {"name": "nothing", "type": "null"},
        {"name": "gift_note", "type": ["null", "string"], "default": None},
    ]
    for n, spec in enumerate(reversed(schema["fields"])):
        name, field = spec["name"], contract.fields[spec["name"]]
        kind = WIDER.get(field.type, field.type)
        if field.type == "decimal":
            kind = {**MONEY_WIDE, "precision": field.precision + 4, "scale": field.scale + 2}
        kinds = [kind] if name == contract.key else ["null", kind] if n % 2 else [kind, "null"]
        renamed = {"name": f"{name}_{n}", "aliases": [name]} if n % 3 == 0 else {"name": name}
        default = {"default": None} if kinds[0] == "null" else {}
        fields.append({**renamed, "type": kinds if len(kinds) > 1 else kinds[0], **default})
    return {**schema, "fields": fields}


def refit(schema, event, chance):
    """`event` under a schema of `changed_throughout`; now and then with a value that the contract cannot hold."""
    record = {}
    for spec in schema["fields"]:
        name = next((n for n in (spec["name"], *spec.get("aliases", ())) if n in event), None)
        value = ("x" if spec["type"] != "null" else None) if name is None else event[name]
        if name is not None and isinstance(spec["type"], list) and chance.random() < 0.03:
            value = chance.choice(wild(CONTRACTS[schema["dataflow.topic"]].fields[name], value))
        record[spec["name"]] = value
    return record


def wild(field, value):
    """What the wider schema holds, and the contract does not in all cases."""
    if isinstance(value, Decimal):
        return None, value + Decimal("0.0001"), Decimal(10) ** (field.precision - field.scale)
    if isinstance(value, int):
        return None, 2**31, -(2**31) - 1
    return None, value


def mutated(value, chance):
    """The same bytes, damaged now and then."""
    if chance.random() < 0.7:
        return value
    at = chance.randrange(HEADER.size, len(value))
    return chance.choice(
        (
            value[:at],
            value + chance.randbytes(2),
            value[:at] + chance.randbytes(1) + value[at + 1 :],
            value[:at] + value[at + 1 :],
        )
    )


# Each costs seconds, and the last test has all of them at once: these stand for the others in a short run.
SHORT = ("a field added", "renamed by alias", "money with more digits", "a map added")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in SHORT else pytest.mark.longhaul) for n in EVOLUTIONS]
)
@pytest.mark.cases(2)
def test_the_judge_agrees_with_fastavro_on_records_of_another_schema_damaged_ones_too(spark, name):
    agreed(spark, CONTRACT, EVOLUTIONS[name], random.Random(f"{SEED} {name}"), random_record)


# Each costs seconds: the one with the most kinds of fields stands for all in a short run.
@pytest.mark.parametrize(
    "topic", [pytest.param(t, marks=() if t == "products" else pytest.mark.longhaul) for t in CONTRACTS]
)
def test_so_it_is_for_every_topic_with_all_its_fields_changed(spark, topic):
    contract = CONTRACTS[topic]
    agreed(spark, contract, changed_throughout(contract), random.Random(f"{SEED} {topic}"), refit)


def agreed(spark, contract, schema, chance, record_of):
    """Of records of `schema`, some damaged, Spark's judge says what the plain one says, which reads by fastavro."""
    emissions, _ = history(ALL_UP)
    topic = contract.topic
    events = [e.event for e in emissions if e.topic == topic and not reasons(topic, e.key, e.value)][:400]
    writer, records, whole = fastavro.parse_schema(json.loads(json.dumps(schema))), [], {}
    for n, event in enumerate(events):
        out, record = io.BytesIO(), record_of(schema, event, chance)
        fastavro.schemaless_writer(out, writer, record)
        value = HEADER.pack(MAGIC, 901) + out.getvalue()
        records.append((event[contract.key].encode(), mutated(value, chance)))
        if records[-1][1] == value and says(schema, record, event):
            whole[n] = event
    known = [
        RegisteredSchema(IDS[topic], 1, contract.avro_json),
        RegisteredSchema(901, 2, json.dumps(schema)),
    ]
    rows = [(k, v, topic, 0, n, ARRIVAL) for n, (k, v) in enumerate(records)]
    found = judge(spark.createDataFrame(rows, SCHEMA), contract, known, MAX_BYTES).collect()
    assert len(found) == len(records)
    plain, kinds = PlainJudge({topic: known}, MAX_BYTES), Counter()
    for row in sorted(found, key=lambda row: row.offset):
        expected, event = plain.judge(topic, *records[row.offset], micros(ARRIVAL))
        assert bool(row.reasons) == bool(expected), (row.reasons, expected)
        if "does_not_fit_contract" in expected or not {"undecodable", "not_canonical", "invalid_utf8"} & {
            *expected
        }:
            assert row.reasons == expected
        assert (row.event and row.event.asDict()) == (event and canonical(contract, event))
        kinds["refused" if expected else "accepted"] += 1
        if row.offset in whole:
            # Neither judge is asked: what was sent is what has to be read.
            assert row.event.asDict() == as_sent(contract, schema, whole[row.offset])
            kinds["whole"] += 1
    assert kinds["accepted"] > len(records) // 3
    assert kinds["refused"] > len(records) // 20
    assert kinds["whole"] == len(whole) > len(records) // 4


def says(schema, record, event):
    """Whether the record has all that the event has, each field under one of its names."""
    found = {
        name: spec["name"] for spec in schema["fields"] for name in (spec["name"], *spec.get("aliases", ()))
    }
    return all(name in found and record[found[name]] == value for name, value in event.items())


def as_sent(contract, schema, event):
    """The event as a verdict has it, without any reading of bytes. A schema may keep times in milliseconds."""
    coarse = {
        name
        for spec in schema["fields"]
        for name in (spec["name"], *spec.get("aliases", ()))
        if "timestamp-millis" in json.dumps(spec["type"])
    }
    found = {}
    for name, field in contract.fields.items():
        value = event.get(name)
        if isinstance(value, Decimal):
            value = money(field, value)
        if isinstance(value, datetime):
            value = micros(value)
            value -= value % 1_000 if name in coarse else 0
        if not field.pii:
            found[name] = value
    return found


def money(field, value):
    return int(value.scaleb(field.scale))


def canonical(contract, event):
    fields = contract.fields
    return {
        name: int(value.scaleb(fields[name].scale)) if isinstance(value, Decimal) else value
        for name, value in event.items()
        if not fields[name].pii
    }


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_schema_that_cannot_be_read_refuses_its_records_and_no_others(spark, name):
    emissions, _ = history(ALL_UP)
    sent = next(e for e in emissions if e.topic == TOPIC and not reasons(e.topic, e.key, e.value))
    known = [
        RegisteredSchema(901, 2, json.dumps(IMPOSSIBLE[name])),
        RegisteredSchema(IDS[TOPIC], 1, CONTRACT.avro_json),
    ]
    rows = [
        (sent.key, value, TOPIC, 0, n, ARRIVAL)
        for n, value in enumerate((HEADER.pack(MAGIC, 901) + sent.value[HEADER.size :], sent.value))
    ]
    found = judge(spark.createDataFrame(rows, SCHEMA), CONTRACT, known, MAX_BYTES).orderBy("offset").collect()
    assert [row.reasons for row in found] == [["incompatible_schema"], []]
    with pytest.raises(ContractError):
        projection(CONTRACT, IMPOSSIBLE[name])


def test_the_contracts_own_schema_is_read_as_ever(spark):
    emissions, _ = history(ALL_UP)
    records = [(e.key, e.value) for e in emissions if e.topic == TOPIC][:50]
    assert any(not row.reasons for row in judged(spark, TOPIC, records))

"""The Spark judge gives each record the verdict that plain Python gives it, reasons included."""

from collections import defaultdict

import orjson
import pytest

from dataflow.testing import Clock, Events
from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS
from schemas.validate import micros
from sources.codec import EventCodec
from streams.judge import judge
from streams.plain_judge import PlainJudge, canonical_event
from tests.sources.generator_kit import ALL_UP, ARRIVAL, CODEC, IDS, history, reasons

SCHEMA = "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp"
MAX_BYTES = 262_144


def judged(spark, topic, records, max_bytes=MAX_BYTES):
    """Verdicts of (key, value) records, in their order."""
    rows = [(k, v, topic, 0, n, ARRIVAL) for n, (k, v) in enumerate(records)]
    known = [RegisteredSchema(IDS[topic], 1, CONTRACTS[topic].avro_json)]
    frame = judge(spark.createDataFrame(rows, SCHEMA), CONTRACTS[topic], known, max_bytes)
    return sorted(frame.collect(), key=lambda row: row.offset)


@pytest.mark.parametrize("topic", sorted(CONTRACTS))
def test_the_judge_agrees_with_plain_python_on_a_shop_with_all_dials_up(spark, topic):
    emissions, _ = history(ALL_UP)
    records = [(e.key, e.value) for e in emissions if e.topic == topic][:3_000]
    verdicts = judged(spark, topic, records)
    assert len(verdicts) == len(records)
    differing = defaultdict(list)
    for (key, value), row in zip(records, verdicts, strict=True):
        expected = reasons(topic, key, value)
        if bool(expected) != bool(row.reasons):
            differing[str(expected), str(row.reasons)].append((key, value))
    assert not differing, {pair: (len(found), found[0]) for pair, found in differing.items()}
    assert any(row.reasons for row in verdicts)


@pytest.mark.parametrize("topic", sorted(CONTRACTS))
def test_an_accepted_event_carries_exactly_what_was_sent_without_personal_data(spark, topic):
    emissions, _ = history(ALL_UP)
    records = [(e.key, e.value) for e in emissions if e.topic == topic and not reasons(topic, e.key, e.value)]
    contract = CONTRACTS[topic]
    for (_, value), row in zip(records[:300], judged(spark, topic, records[:300]), strict=True):
        sent = CODEC.decode(topic, value)
        expected = {n: plain(f, sent[n]) for n, f in contract.fields.items() if not f.pii}
        assert row.event.asDict() == expected


def plain(field, value):
    if value is None:
        return None
    if field.type == "decimal":
        return int(value.scaleb(field.scale))
    return micros(value) if field.type == "timestamp" else value


@pytest.mark.parametrize("damage", ["key", "schema id", "size"])
def test_a_sound_record_is_refused_for_what_surrounds_it(spark, damage):
    emissions, _ = history(ALL_UP)
    sent = next(e for e in emissions if e.topic == "orders" and not reasons(e.topic, e.key, e.value))
    key, value = sent.key, sent.value
    if damage == "key":
        key, reason = b"somebody else", "key_is_not_entity_id"
    elif damage == "schema id":
        other = EventCodec({**IDS, "orders": IDS["payments"]}).encode("orders", sent.event)
        (key, value), reason = other, "unknown_schema_id"
    else:
        value, reason = value + b"\0" * MAX_BYTES, "too_large"
    assert judged(spark, "orders", [(key, value)])[0].reasons == [reason]


def test_an_event_is_refused_at_the_byte_from_which_on_its_verdict_is_too_large(spark):
    most = 3_000
    plain = PlainJudge(
        {"reviews": [RegisteredSchema(IDS["reviews"], 1, CONTRACTS["reviews"].avro_json)]}, most
    )
    review = Events(Clock(ARRIVAL))("reviews")
    body = "\x01" * 800

    def record(text):
        return CODEC.encode("reviews", {**review, "body": text})

    def size(text):
        key, value = record(text)
        reasons, event = plain.judge("reviews", key, value, micros(ARRIVAL))
        assert not reasons
        return len(orjson.dumps(canonical_event(CONTRACTS["reviews"], event)))

    room = 2 * most - size(body)
    texts = [body + "x" * (room + more) for more in (-1, 0, 1, 200)]
    records = [record(text) for text in texts]
    assert all(len(key) + len(value) <= most for key, value in records)
    found = judged(spark, "reviews", records, most)
    assert [row.reasons for row in found] == [[], [], *[["verdict_too_large"]] * 2]
    assert [row.event is None for row in found] == [False, False, True, True]
    assert found[1].event.body == texts[1]
    for (key, value), row in zip(records, found, strict=True):
        assert plain.judge("reviews", key, value, micros(ARRIVAL))[0] == row.reasons

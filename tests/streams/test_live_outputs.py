"""Every record gets one verdict on the judged topic; every refused one is found whole in the dead letters."""

import json
from itertools import pairwise

from confluent_kafka import Message

from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS
from serving.dead_letters import DeadLetter
from serving.materializer.dead_letters import letter_of
from streams.judge import canonical_event, judge
from streams.limits import EXCERPT_BYTES, HEADERS_BYTES, KEY_BYTES
from streams.live.outputs import outputs
from tests.sources.generator_kit import ALL_UP, ARRIVAL, IDS, history, reasons
from tests.streams.test_judge import MAX_BYTES, SCHEMA

HEADERS = "array<struct<key:string,value:binary>>"


def written(spark, records, topic="orders", headers=None):
    rows = [(k, v, topic, 0, n, ARRIVAL, headers) for n, (k, v) in enumerate(records)]
    known = [RegisteredSchema(IDS[topic], 1, CONTRACTS[topic].avro_json)]
    frame = spark.createDataFrame(rows, f"{SCHEMA}, headers {HEADERS}").coalesce(1)
    verdicts = judge(frame, CONTRACTS[topic], known, MAX_BYTES, canonical_event, ("headers",))
    return outputs(verdicts, topic, "x.g1.events.judged", "g1", MAX_BYTES).collect()


def test_every_record_has_one_verdict_in_order_and_every_refused_one_a_dead_letter(spark):
    emissions, _ = history(ALL_UP)
    records = [(e.key, e.value) for e in emissions if e.topic == "orders"][:2_000]
    rows = written(spark, records)
    verdicts = [json.loads(r.value) for r in rows if not r.headers]
    assert [v["o"] for v in verdicts] == list(range(len(records)))
    refused = {n for n, (key, value) in enumerate(records) if reasons("orders", key, value)}
    assert {v["o"] for v in verdicts if v["v"] != "a"} == refused
    # what this query cannot decide is for the registry to tell
    unknown = {v["o"] for v in verdicts if v.get("r") == ["unknown_schema_id"]}
    assert unknown
    assert {v["o"] for v in verdicts if v["v"] == "u"} == unknown
    letters = {r.key.decode(): r for r in rows if r.headers}
    assert set(letters) == {f"orders/0/{n}" for n in refused}
    # the partition's order: a letter right before its verdict
    for before, after in pairwise(rows):
        if before.headers:
            verdict = json.loads(after.value)
            assert before.key.decode() == f"orders/0/{verdict['o']}"
            assert verdict["v"] in "ru"
            assert not after.headers
    for n in refused:
        letter = letters[f"orders/0/{n}"]
        headers = {h.key: h.value for h in letter.headers}
        assert bytes(letter.value) == (records[n][1] or b"")
        assert headers["reasons"] == ",".join(verdicts[n]["r"]).encode()
        assert (headers["null_value"] == b"true") == (records[n][1] is None)


def test_a_record_that_is_too_large_is_refused_by_reference(spark):
    rows = written(spark, [(b"k", b"\0" * (MAX_BYTES + 1))])
    letter = next(r for r in rows if r.headers)
    headers = {h.key: h.value for h in letter.headers}
    assert len(letter.value) == EXCERPT_BYTES
    assert (headers["truncated"], headers["source_offset"]) == (b"true", b"0")
    assert headers["reasons"] == b"too_large"


def test_a_key_that_is_not_kept_whole_is_marked(spark):
    """Whoever puts the record back then reads it where it came from."""
    rows = written(spark, [(b"k" * KEY_BYTES, b"\0\0"), (b"k" * (KEY_BYTES + 1), b"\0\0")])
    whole, cut = ({h.key: h.value for h in row.headers} for row in rows if row.headers)
    assert (whole["truncated"], cut["truncated"]) == (b"false", b"true")
    assert whole["source_key"] == cut["source_key"] == b"k" * KEY_BYTES
    assert int(cut["size"]) == KEY_BYTES + 3


def test_a_letter_has_its_records_own_headers_whoever_writes_it(spark):
    """In their order, one twice, one null, one that is called like the letter's; too many of them are left out."""
    few = [("trace", b"1"), ("reasons", b"\xff"), ("trace", b"2"), ("empty", None)]
    full, more = [("h", b"x" * (HEADERS_BYTES - 1))], [("h", b"x" * HEADERS_BYTES)]
    for headers, kept in ((None, True), ([], True), (few, True), (full, True), (more, False)):
        [row] = [each for each in written(spark, [(b"k", b"\0\0")], headers=headers) if each.headers]
        by_spark = Message(
            "", 0, -1, key=bytes(row.key), value=bytes(row.value),
            headers=[(each.key, None if each.value is None else bytes(each.value)) for each in row.headers],
        )  # fmt: skip
        at = round(ARRIVAL.timestamp() * 1000)
        record = Message("orders", 0, 0, key=b"k", value=b"\0\0", headers=headers, timestamp=(1, at))
        plain = letter_of(record, "orders", "too_short", "g1", MAX_BYTES)
        assert by_spark.headers() == plain.headers()
        for message in (by_spark, plain):
            letter = DeadLetter.of(message)
            assert letter.headers == (tuple(headers or ()) if kept else ())
            assert letter.truncated is not kept
            assert letter.reasons == ("too_short",)

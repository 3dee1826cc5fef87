"""The live path of the kit: it learns schemas, survives a flush, and says why something is not counted."""

import io
import json
import os
import signal

import fastavro
import pytest

from dataflow.testing import Environment, Live, Stream, wait_for
from infra.kafka import admin, grow
from infra.registry import Registry, subject
from schemas.contract import CONTRACTS
from serving.store.keys import Keys
from serving.store.store import connect
from sources.codec import HEADER, MAGIC


def test_a_schema_that_is_registered_meanwhile_is_learned(stream: Stream, live: Live) -> None:
    first = stream.produce("reviews")
    newer = json.loads(CONTRACTS["reviews"].avro_json)
    newer["fields"].append({"name": "helpful", "type": ["null", "int"], "default": None})
    registry = Registry(live.settings.kafka_schema_registry)
    schema_id = registry.register(subject(live.settings, "reviews"), newer)
    registry.close()
    event, out = stream.events("reviews"), io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(newer), {**event, "helpful": 3})
    key = event["review_id"].encode()
    stream.produce_raw("reviews", key, HEADER.pack(MAGIC, schema_id) + out.getvalue())
    nobody = stream.produce_raw("reviews", b"x", HEADER.pack(MAGIC, 2_000_000_000) + b"?")
    live.settled()
    assert [letter.place for letter in live.dead_letters()] == [nobody]
    accepted = [v for v in live.verdicts("reviews") if v.accepted]
    assert {v.event["review_id"] for v in accepted} == {first.event["review_id"], event["review_id"]}
    assert live.rows("reviews")[0]["reviews"] == 2


def test_a_flushed_redis_is_filled_again(stream: Stream, live: Live) -> None:
    stream.produce_all([("orders", {"total_amount": "1.00"})] * 5)
    live.settled()
    redis = connect(live.settings)
    redis.delete(*redis.scan_iter(match=Keys.of(live.settings, "g1").space + "*"))
    redis.close()
    wait_for(lambda: live.http.get("/readyz").status_code == 503, what="that the loss is noticed")
    live.settled()
    assert live.rows("revenue")[0]["gross"] == "5.00"


@pytest.mark.cases(0)
def test_added_partitions_are_taken_in(stream: Stream, live: Live, dataflow_env: Environment) -> None:
    name = f"{live.settings.topic_prefix}orders"
    grow(admin(live.settings.kafka_bootstrap_servers), name, 5)
    # This producer learns of the topics only now.
    places = dataflow_env.stream(stream.events).produce_all([("orders", {})] * 12)
    live.settled()
    assert {place.partition for place in places} > {0, 1}
    assert live.rows("revenue")[0]["orders"] == 12


def test_it_is_stopped_and_started_again(stream: Stream, live: Live) -> None:
    live.stop()
    stream.produce("orders")
    with pytest.raises(AssertionError) as told:
        live.settled(1)
    assert "not everything is counted after 1 s (orders/" in str(told.value)
    assert "--- the log of materializer:" in str(told.value)
    live.start()
    live.settled()
    assert live.rows("revenue")[0]["orders"] == 1


def test_a_job_that_ends_by_itself_is_told(stream: Stream, live: Live) -> None:
    os.kill(live.jobs["materializer"].pid, signal.SIGKILL)
    wait_for(lambda: not live.jobs["materializer"].alive())
    stream.produce("orders")
    with pytest.raises(AssertionError, match="materializer ended with -9"):
        live.settled()
    with pytest.raises(AssertionError, match="materializer was to be killed and had ended by itself"):
        live.kill()


def test_a_failpoint_that_nothing_comes_to_is_told(stream: Stream, live: Live) -> None:
    with pytest.raises(
        AssertionError, match=r"expected a failpoint of live or materializer, saw api\.before"
    ):
        live.arm("api.before_deliver")
    live.arm("materializer.after_dead_letters")
    stream.produce("orders")
    with pytest.raises(
        AssertionError, match=r"the death of materializer at failpoint materializer\.after_dead"
    ):
        live.died(2)
    assert live.kills == 0


@pytest.mark.dataflow(kafka_partitions=1, shop_timezone="Asia/Tokyo")
def test_the_marker_sets_the_environment(stream: Stream, live: Live, dataflow_env: Environment) -> None:
    stream.events.clock.set("2026-03-02T23:00:00Z")
    assert stream.produce("orders").partition == 0
    live.settled()
    assert [row["start"] for row in live.rows("revenue", "day")] == ["2026-03-02T15:00:00Z"]
    assert dataflow_env.settings.dataflow_env.startswith("t-test-the-marker-")
    assert set(dataflow_env.generation.partitions()) == {(topic, 0) for topic in CONTRACTS}

"""POST /v1/events: what is accepted is in Kafka to the byte, what is refused is told why, a retry counts once."""

import uuid
from collections.abc import Iterator
from decimal import Decimal

import orjson
import pytest
from confluent_kafka import TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from infra.kafka import consumer
from infra.registry import schema_ids
from schemas.contract import CONTRACTS
from schemas.validate import micros
from serving.api.ingest.ingest import Ingest
from serving.store.store import connect
from sources.codec import EventCodec
from tests.helpers import wait_for
from tests.serving.api.documents import CUSTOMER, VIEW, new_id, order, without
from tests.serving.api.kit import assert_problem, serving

NDJSON = {"Content-Type": "application/x-ndjson"}


def ndjson(*documents) -> bytes:
    """One document a line; bytes stay as they are."""
    return b"\n".join(each if isinstance(each, bytes) else orjson.dumps(each) for each in documents)


@pytest.fixture(scope="module")
def record(shop) -> Iterator:
    """Reads the event at a topic, partition and offset."""
    reader = consumer(shop.kafka_bootstrap_servers, "ingest-test")
    codec = EventCodec(schema_ids(shop))

    def at(found: dict) -> dict:
        reader.assign(
            [TopicPartition(shop.topic_prefix + found["topic"], found["partition"], found["offset"])]
        )
        message = wait_for(lambda: reader.poll(0.2), what="the record")
        assert message.offset() == found["offset"]
        event = codec.decode(found["topic"], message.value())
        assert message.key() == str(event[CONTRACTS[found["topic"]].key]).encode()
        return event

    yield at
    reader.close()


def test_an_accepted_document_is_in_kafka_where_the_answer_says(shop_api, record):
    document = order(total_amount="1234567890.12")
    answer = shop_api.post("/v1/events/orders", json=document)
    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"status", "topic", "partition", "offset", "event_id", "version", "as_of"}
    event = record(body)
    assert event["total_amount"] == Decimal("1234567890.12")
    assert (event["event_id"], event["version"]) == (body["event_id"], body["version"])
    assert (event["op"], event["source"]) == ("c", "rest")
    # the version is the ingest's clock, in µs
    assert abs(event["version"] - micros(event["occurred_at"])) < 60_000_000


def test_an_answer_says_what_is_counted_so_far(shop_api):
    read = shop_api.get("/v1/status").json()["as_of"]
    for body in (
        shop_api.post("/v1/events/orders", json=order()).json(),
        shop_api.post("/v1/events/orders", content=ndjson(order(), {}), headers=NDJSON).json(),
    ):
        assert (body["as_of"]["generation"], set(body["as_of"])) == (read["generation"], set(read))
        assert body["as_of"]["position"] >= read["position"]


def test_money_as_a_json_number_is_exact(shop_api, record):
    raw = orjson.dumps(without(order(), "total_amount"))[:-1] + b',"total_amount":9007199254.99}'
    answer = shop_api.post("/v1/events/orders", content=raw, headers={"Content-Type": "application/json"})
    assert record(answer.json())["total_amount"] == Decimal("9007199254.99")


def test_clicks_have_no_version_and_are_keyed_by_session(shop_api, record):
    body = shop_api.post("/v1/events/clickstream", json=VIEW).json()
    assert "version" not in body
    assert record(body)["event_id"] == body["event_id"]


def test_versions_of_one_entity_grow(shop_api):
    document = order()
    versions = [shop_api.post("/v1/events/orders", json=document).json()["version"] for _ in range(3)]
    assert versions == sorted(set(versions))


def test_an_explicit_version_is_kept(shop_api, record):
    assert record(shop_api.post("/v1/events/orders", json=order(version=42)).json())["version"] == 42


def test_a_retry_with_the_same_event_id_gets_the_same_version(shop_api, record):
    document = order(event_id=new_id())
    first, second = (shop_api.post("/v1/events/orders", json=document).json() for _ in range(2))
    assert first["version"] == second["version"]
    assert first["offset"] != second["offset"]
    a, b = record(first), record(second)
    assert {**a, "occurred_at": None} == {**b, "occurred_at": None}


def test_a_retry_with_the_same_idempotency_key_gets_the_same_ids_and_versions(shop_api):
    body = ndjson(order(), order())

    def send(key: str) -> list[tuple]:
        answer = shop_api.post("/v1/events/orders", content=body, headers={**NDJSON, "Idempotency-Key": key})
        return [(line["event_id"], line["version"]) for line in answer.json()["results"]]

    first = send("a")
    assert send("a") == first
    assert not set(send("b")) & set(first)
    assert len(set(first)) == 2


def test_a_refused_document_is_told_every_reason_and_is_not_sent(shop_api):
    before = offsets(shop_api)
    answer = shop_api.post("/v1/events/orders", json=order(status="lost", total_amount="-1.00"))
    body = assert_problem(answer, 422, "refused")
    assert [each["rule"] for each in body["errors"]] == ["status_allowed", "total_amount_minimum"]
    assert offsets(shop_api) == before


def test_many_lines_have_one_outcome_each(shop_api, record):
    good = [order() for _ in range(1_000)]
    lines = [*map(orjson.dumps, good[:500]), b'{"order_id": ', *map(orjson.dumps, good[500:]), b"", b"  \r"]
    answer = shop_api.post("/v1/events/orders", content=b"\n".join(lines), headers=NDJSON)
    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["refused"], body["failed"]) == (1_000, 1, 0)
    assert [line["line"] for line in body["results"]] == list(range(1, 1_002))
    broken = body["results"][500]
    assert broken["status"] == "refused"
    assert broken["errors"][0]["rule"] == "malformed_json"
    assert "line 501 column 14" in broken["errors"][0]["reason"]
    places = {(line["partition"], line["offset"]) for line in body["results"] if line["status"] == "accepted"}
    assert len(places) == 1_000
    assert record(body["results"][501])["order_id"] == good[500]["order_id"]


def test_a_mix_of_mistakes_refuses_each_line_for_its_own(shop_api):
    lines = ndjson(
        order(total_amount="12.345"),
        b"[]",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        order(colour="red"),
        order(order_date="2026-05-17T09:30:00"),
        orjson.dumps(order(shipping_address="x" * 300_000)),
        order(),
    )
    body = shop_api.post("/v1/events/orders", content=lines, headers=NDJSON).json()
    rules = [line["errors"][0]["rule"] for line in body["results"][:-1]]
    assert rules == [
        "total_amount_type",
        "malformed_json",
        "malformed_json",
        "malformed_json",
        "malformed_json",
        "unknown_field",
        "order_date_type",
        "too_large",
    ]
    assert body["results"][-1]["status"] == "accepted"


def test_nothing_accepted_is_a_problem(shop_api):
    answer = shop_api.post("/v1/events/orders", content=ndjson({}, b"x"), headers=NDJSON)
    body = assert_problem(answer, 422, "refused")
    assert (body["accepted"], body["refused"]) == (0, 2)
    assert [line["status"] for line in body["results"]] == ["refused", "refused"]
    assert_problem(shop_api.post("/v1/events/orders", content=b"\n\n", headers=NDJSON), 422, "refused")


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Content-Type": "text/plain"}, "text/plain"),
        ({"Content-Type": "application/json; charset=latin-1"}, "UTF-8"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "not compressed"),
        ({}, "no content type"),
    ],
)
def test_another_content_type_is_refused_with_what_is_taken(shop_api, headers, named):
    answer = shop_api.post("/v1/events/orders", content=b"{}", headers=headers)
    detail = assert_problem(answer, 415, "unsupported-media-type")["detail"]
    assert named in detail
    assert "application/x-ndjson" in detail


def test_a_charset_of_utf_8_is_taken(shop_api):
    headers = {"Content-Type": 'application/json; charset="UTF-8"'}
    assert (
        shop_api.post("/v1/events/orders", content=orjson.dumps(order()), headers=headers).status_code == 202
    )


def test_an_unknown_topic_is_refused_with_those_known(shop_api):
    body = assert_problem(shop_api.post("/v1/events/refunds", json={}), 404, "unknown-topic")
    assert body["known"] == list(CONTRACTS)


def test_a_body_too_large_is_refused_with_or_without_a_length(shop_api):
    large = b"x" * (shop_api.settings.api_max_body_bytes + 1)

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    for content in (large, chunks()):
        answer = shop_api.post("/v1/events/orders", content=content, headers=NDJSON)
        assert "1,048,576 bytes" in assert_problem(answer, 413, "too-large")["detail"]
    assert shop_api.get("/healthz").status_code == 200


def test_an_event_too_large_and_lines_too_many_are_refused(shop_api):
    answer = shop_api.post("/v1/events/orders", json=order(shipping_address="x" * 300_000))
    assert_problem(answer, 413, "too-large")
    answer = shop_api.post("/v1/events/orders", content=b"{}\n" * 10_001, headers=NDJSON)
    assert "10,000 lines" in assert_problem(answer, 413, "too-large")["detail"]


def test_parameters_and_endless_keys_are_refused(shop_api):
    assert_problem(shop_api.post("/v1/events/orders?dry=1", json=order()), 400, "bad-query")
    headers = {"Idempotency-Key": "k" * 256}
    assert_problem(shop_api.post("/v1/events/orders", json=order(), headers=headers), 400, "bad-query")


def test_personal_data_is_in_no_answer_and_no_log(shop_api, caplog, capfd):
    secret = "Jane Roe of Elm Street"
    for name in CONTRACTS["customers"].pii_fields:
        wrong = {**CUSTOMER, name: f" {secret}", "created_at": "never"}
        for content in (
            orjson.dumps(wrong),
            orjson.dumps(wrong)[:-1],
            orjson.dumps({**CUSTOMER, name: [secret]}),
        ):
            answer = shop_api.post(
                "/v1/events/customers", content=content, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 422
            assert secret not in answer.text
    assert secret not in caplog.text + "".join(capfd.readouterr())


def test_outcomes_are_counted_for_prometheus(shop_api):
    def counted() -> dict[str, float]:
        text = shop_api.get("/metrics").text
        families = text_string_to_metric_families(text)
        return {
            sample.labels["status"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == "dataflow_ingest_events_total" and sample.labels["topic"] == "payments"
        }

    shop_api.post("/v1/events/payments", content=ndjson({}, {}), headers=NDJSON)
    assert counted() == {"accepted": 0, "refused": 2, "failed": 0}


def test_without_redis_nothing_gets_a_version_but_clicks_go_on(shop):
    with serving(shop.replace(redis_port=9)) as api:
        document = order(event_id=new_id())
        body = assert_problem(api.post("/v1/events/orders", json=document), 503, "unavailable")
        assert (body["retryable"], body["event_id"]) == (True, document["event_id"])
        assert api.post("/v1/events/orders", json=order(version=1)).status_code == 202
        click = api.post("/v1/events/clickstream", json=VIEW)
        assert (click.status_code, click.json()["as_of"]) == (202, None)
        mixed = api.post("/v1/events/orders", content=ndjson(order(), order(version=1)), headers=NDJSON)
        assert mixed.status_code == 202
        assert [line["status"] for line in mixed.json()["results"]] == ["failed", "accepted"]


def test_a_redis_without_functions_gets_them(shop_api, shop):
    redis = connect(shop)
    redis.function_flush()
    redis.close()
    assert shop_api.post("/v1/events/orders", json=order()).status_code == 202


def test_without_a_broker_every_line_fails_and_may_be_tried_again(shop):
    with serving(shop.replace(kafka_bootstrap_servers="127.0.0.1:9")) as api:
        service = api.service
        service.ingest.stop()
        service.ingest = Ingest(service.settings, service.redis, service.telemetry, delivery_seconds=0.5)
        service.ingest.start()
        answer = api.post("/v1/events/orders", content=ndjson(order(), {}), headers=NDJSON)
        body = assert_problem(answer, 503, "unavailable")
        assert (body["failed"], body["refused"]) == (1, 1)
        assert "nobody knows whether the broker has it" in body["detail"]
        assert "with the same `event_id`" in body["detail"]
        failed = body["results"][0]
        assert failed["retryable"] is True
        assert str(uuid.UUID(failed["event_id"])) == failed["event_id"]
        assert answer.headers["retry-after"] == "1"


def offsets(api) -> list:
    """Log ends of all topics, once they have been looked at again."""
    seen = api.service.kafka.at
    wait_for(lambda: api.service.kafka.at > seen, what="a look at the log ends")
    return sorted(api.service.kafka.ends.items())

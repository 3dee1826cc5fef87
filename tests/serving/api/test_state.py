"""Status, freshness, lag and exactness tell the truth, also while there is nothing to show."""

import time
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.generation import new_generation
from schemas.contract import CONTRACTS
from serving.store.keys import place
from serving.verified import Found, verified_key
from sources.producer import EventProducer
from tests.helpers import wait_for
from tests.serving.api.kit import MINUTE, State, assert_problem, places_of, serving


def put_records(settings, topic: str, count: int) -> None:
    """Records in partition 0 or 1 of a topic; what they hold does not matter here."""
    ids = dict.fromkeys(CONTRACTS, 1)
    with EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, ids) as producer:
        for _ in range(count):
            producer.produce_raw(topic, b"same", b"x")


def lag_of(api) -> dict:
    return api.get("/v1/lag").json()


def test_lag_is_log_end_less_next_offset_of_each_partition(api, state):
    put_records(state.settings, "orders", 3)
    lag = wait_for(lambda: (found := lag_of(api))["records_behind"] == 3 and found, what="a lag of 3")
    assert lag["by_topic"]["orders"] == 3
    assert lag["stale"] is False
    rows = [row for row in lag["partitions"] if row["log_end"]]
    assert [(r["topic"], r["log_end"], r["next_offset"], r["records_behind"]) for r in rows] == [
        ("orders", 3, 0, 3)
    ]
    assert len(lag["partitions"]) == 2 * len(CONTRACTS)

    assert (
        api.get("/v1/freshness").json()["freshness_ms"] is None
    )  # there is no counted record that had an age

    partition = rows[0]["partition"]
    now = int(time.time())
    state.apply("orders", partition=partition, records=2, event_time=now - 60)
    fresh = api.get("/v1/freshness").json()
    assert 60_000 <= fresh["freshness_ms"] < 90_000
    assert lag_of(api)["records_behind"] == 1
    state.apply("orders", partition=partition, event_time=now - 50)
    assert api.get("/v1/freshness").json()["freshness_ms"] == 0
    assert lag_of(api)["records_behind"] == 0


def test_exactness_is_an_account_of_every_partition(api, state):
    state.apply("orders", records=5)
    state.apply("orders", verdict="refused")
    state.apply("payments", partition=1, records=2, verdict="repeat")
    body = api.get("/v1/exactness").json()
    assert body["exact"] is True
    assert body["offsets"] == 8
    assert body["counts"] == {"changed": 5, "repeat": 2, "superseded": 0, "refused": 1, "empty": 0}
    row = places_of(body["partitions"])["orders/0"]
    assert (row["base"], row["next_offset"], row["exact"]) == (0, 6, True)
    assert body["as_of"]["position"] == 8


def test_a_count_too_few_is_not_exact(api, state):
    state.apply("orders", ("A", state.keys.counts, ["orders/0/changed", -1]))
    body = api.get("/v1/exactness").json()
    assert body["exact"] is False
    assert [at for at, row in places_of(body["partitions"]).items() if not row["exact"]] == ["orders/0"]


def test_a_held_partition_is_named_with_its_reason(api, state):
    state.apply("orders", ("S", state.keys.held, [place("orders", 1), "hole at 7"]))
    body = api.get("/v1/exactness").json()
    assert (body["exact"], body["held"]) == (False, {"orders/1": "hole at 7"})
    status = api.get("/v1/status").json()
    assert status["exactness"]["held"] == {"orders/1": "hole at 7"}


def test_status_has_it_all(api, state):
    state.order(1_999)
    body = api.get("/v1/status").json()
    assert body["env"] == state.settings.dataflow_env
    assert (body["generation"], body["state"], body["detail"]) == ("g1", "live", None)
    assert body["exactness"]["exact"] is True
    assert body["lag"]["records_behind"] == 0
    assert body["freshness"]["newest_event_time"] == "2026-05-17T09:30:00.000000Z"
    assert body["as_of"]["position"] == 1
    assert body["live"] == {"clients": 0, "snapshots": 0}


def test_a_flushed_redis_is_rebuilding_until_all_is_there_again(api, state):
    """FLUSHALL as far as this environment is concerned: readers get 503, then no less than they had."""
    for cents in (100, 200, 300):
        state.order(cents)
    assert api.get("/v1/metrics/revenue?grain=all").json()["as_of"]["position"] == 3
    for key in state.redis.scan_iter(match=state.keys.space + "*"):
        state.redis.delete(key)

    def refused() -> str:
        answer = api.get("/v1/metrics/revenue")
        assert answer.headers["retry-after"] == "1"
        for path in (
            "/v1/lag",
            "/v1/freshness",
            "/v1/exactness",
            "/v1/metrics/revenue/top?by=payment_method",
        ):
            assert_problem(api.get(path), 503, "rebuilding")
        status = api.get("/v1/status")
        assert (status.status_code, status.json()["state"]) == (200, "rebuilding")
        assert_problem(api.get("/readyz"), 503, "unavailable")
        assert api.get("/healthz").status_code == 200
        return assert_problem(answer, 503, "rebuilding")["detail"]

    assert "empty" in refused()
    state.begin()
    assert "at least 3 records to go" in refused()
    state.order(100)
    state.order(200)
    assert "at least 1 records to go" in refused()
    state.order(300)
    body = api.get("/v1/metrics/revenue?grain=all").json()
    assert (body["as_of"]["position"], body["rows"][0]["gross"]) == (3, "6.00")


def test_what_the_topics_held_is_awaited_also_by_a_new_process(world, state):
    """The materializer's `rebuild:` marks hold for readers that have shown nothing yet."""
    state.begin(**{"rebuild:orders/0": 2})
    with serving(world) as api:
        wait_for(lambda: api.get("/v1/status").json()["state"] == "rebuilding", what="rebuilding")
        state.order(1)
        assert_problem(api.get("/v1/metrics/revenue"), 503, "rebuilding")
        state.order(1)
        assert api.get("/v1/metrics/revenue").status_code == 200


def test_a_redis_that_the_materializer_has_not_looked_at_since_it_was_started_is_not_believed(world, state):
    """It may have come back a second older: until its next claim nobody knows."""
    state.begin(server="another")
    with serving(world) as api:
        wait_for(lambda: api.get("/v1/status").json()["state"] == "rebuilding", what="rebuilding")
        body = assert_problem(api.get("/v1/metrics/revenue"), 503, "rebuilding")
        assert "started again" in body["detail"]
        state.begin(server=state.redis.info("server")["run_id"])
        assert api.get("/v1/metrics/revenue").status_code == 200


def test_another_generation_is_followed(api, state):
    state.order(1_999)
    assert api.get("/v1/metrics/revenue?grain=all").json()["as_of"]["generation"] == "g1"
    new_generation(state.settings)
    wait_for(lambda: api.get("/v1/status").json()["generation"] == "g2", what="generation g2")
    wait_for(lambda: api.get("/v1/status").json()["state"] == "rebuilding", what="rebuilding")
    second = State(state.settings, "g2")
    body = api.get("/v1/metrics/revenue?grain=all").json()
    assert (body["as_of"]["generation"], body["rows"]) == ("g2", [])
    second.close()


def test_prometheus_gets_the_state_and_the_requests(api, state):
    state.apply("orders", records=5)
    state.apply("orders", verdict="refused")
    api.get("/v1/metrics/revenue")
    api.get("/v1/metrics/nothing")
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["dataflow_records_total", ("topic", "orders"), ("verdict", "changed")] == 5
    assert found["dataflow_records_total", ("topic", "orders"), ("verdict", "refused")] == 1
    assert found["dataflow_lag_records", ("topic", "orders")] == 0
    assert found["dataflow_up",] == 1
    assert found["dataflow_rebuilding",] == 0
    assert found["dataflow_exact",] == 1
    assert found["dataflow_held_partitions",] == 0
    assert found["dataflow_freshness_seconds",] == 0
    assert found["dataflow_live_clients",] == 0
    route = ("route", "/v1/metrics/revenue")
    assert found["dataflow_http_requests_total", ("method", "GET"), route, ("status", "200")] == 1
    route = ("route", "/v1/metrics/{name}")
    assert found["dataflow_http_requests_total", ("method", "GET"), route, ("status", "404")] == 1
    assert found["dataflow_http_request_seconds_count", ("method", "GET"), route] == 1


@pytest.fixture
def nowhere(settings):
    """Settings of services that do not run."""
    return settings.replace(
        kafka_bootstrap_servers="127.0.0.1:9", redis_port=9, kafka_schema_registry="http://127.0.0.1:9"
    )


def test_it_starts_and_answers_while_nothing_else_runs(nowhere):
    with serving(nowhere) as api:
        assert api.get("/healthz").status_code == 200
        assert api.get("/").status_code == 200
        assert api.get("/v1/status").json()["state"] == "unavailable"
        for path in ("/v1/metrics/revenue", "/v1/lag", "/readyz"):
            assert_problem(api.get(path), 503, "unavailable")
        assert "dataflow_up 0.0" in api.get("/metrics").text
        assert_problem(api.post("/v1/events/orders", json={}), 503, "unavailable")


def test_a_redis_that_does_not_answer_is_a_problem_and_no_more(world):
    with serving(world.replace(redis_port=9)) as api:
        wait_for(lambda: api.get("/v1/status").json()["generation"] == "g1", what="the generation")
        assert api.get("/v1/status").json()["state"] == "unavailable"
        assert_problem(api.get("/v1/metrics/revenue"), 503, "unavailable")
        wait_for(lambda: len(api.get("/readyz").json()["missing"]) == 1, what="the broker's answer")
        missing = assert_problem(api.get("/readyz"), 503, "unavailable")["missing"]
        assert "Redis" in missing[0]


def test_before_bootstrap_it_is_starting(settings):
    with serving(settings) as api:
        wait_for(lambda: api.get("/v1/status").json()["state"] == "starting", what="starting")
        assert "infra.bootstrap" in api.get("/v1/status").json()["detail"]


def test_the_newest_event_is_now_and_not_the_clock(api, state):
    state.order(1_999, MINUTE)
    body = api.get("/v1/metrics/revenue?grain=minute").json()
    assert body["to"] == "2026-05-17T09:31:00Z"
    assert body["as_of"]["age_ms"] == pytest.approx((time.time() - MINUTE) * 1000, abs=5_000)


def test_what_a_second_computation_found_is_told_with_the_account(api, state):
    assert api.get("/v1/exactness").json()["verified"] is None
    assert api.get("/v1/status").json()["verified"] is None
    assert "dataflow_verified" not in api.get("/metrics").text
    key = verified_key(state.settings, "g1")
    found = Found(
        True, time.time() - 5, None, 7, 1_000, True, True, time.time() - 60, 250, [], {"orders": {"0": 9}}
    )
    state.redis.set(key, found.to_json())
    verified = api.get("/v1/exactness").json()["verified"]
    assert (verified["exact"], verified["manifest"], verified["offsets"]) == (True, 7, {"orders": {"0": 9}})
    assert 5_000 <= verified["age_ms"] < 65_000
    assert "offsets" not in api.get("/v1/status").json()["verified"]
    assert "dataflow_verified_exact 1.0" in api.get("/metrics").text
    wrong = replace(found, exact=False, differences=[{"table": "orders", "missing": 1, "unexpected": 0}])
    state.redis.set(key, wrong.to_json())
    assert api.get("/v1/exactness").json()["verified"]["differences"] == wrong.differences
    assert "dataflow_verified_exact 0.0" in api.get("/metrics").text
    assert "dataflow_verified_differences 1.0" in api.get("/metrics").text
    state.redis.set(key, Found(None, time.time(), "there is no lake yet").to_json())
    assert "dataflow_verified_exact" not in api.get("/metrics").text
    assert api.get("/v1/exactness").json()["verified"]["detail"] == "there is no lake yet"

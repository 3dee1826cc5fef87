"""The newest counted records over REST and push: what the lists hold, with the moment that it is of."""

import pytest

from schemas.contract import CONTRACTS
from serving.fold.newest import newest_operations
from tests.serving.api.kit import MICROS, MINUTE, Running, State, assert_problem, listening

ORDER = {
    "order_id": "00000000-0000-4000-8000-000000000007",
    "status": "paid",
    "total_amount": 1_999,
    "occurred_at": MINUTE * MICROS,
    "op": "u",
}


def count(state: State, topic: str, event: dict | None, outcome: str = "changed", **more: object) -> None:
    """Count one record of partition 0, as the materializer does."""
    verdict = {"t": topic, "p": 0, "o": state.fences[topic, 0], "ts": MINUTE * MICROS + 5, "v": "a", **more}
    run = [verdict | ({"e": event} if event else {})]
    position = sum(state.fences.values()) + 1
    state.apply(topic, *newest_operations(run, [outcome], (), position, state.keys), verdict=outcome)


def test_the_newest_are_told_with_what_came_of_them(api: Running, state: State) -> None:
    count(state, "orders", ORDER)
    count(state, "customers", None, "refused", v="r", r=["too_short"])
    count(state, "orders", {**ORDER, "status": "refunded"}, "superseded")
    body = api.get("/v1/events/newest").json()
    assert [(e["topic"], e["offset"], e["verdict"]) for e in body["events"]] == [
        ("orders", 1, "superseded"),
        ("customers", 0, "refused"),
        ("orders", 0, "changed"),
    ]
    assert body["as_of"]["position"] == 3
    assert body["events"][2] == {
        "topic": "orders",
        "partition": 0,
        "offset": 0,
        "verdict": "changed",
        "reasons": [],
        "entity_id": ORDER["order_id"],
        "op": "u",
        "status": "paid",
        "amount": "19.99",
        "occurred_at": "2026-05-17T09:30:00.000000Z",
        "kafka_time": "2026-05-17T09:30:00.000005Z",
    }
    assert body["events"][1]["reasons"] == ["too_short"]
    of_topic = api.get("/v1/events/newest?topic=orders&limit=1").json()["events"]
    assert [(e["topic"], e["status"]) for e in of_topic] == [("orders", "refunded")]
    assert api.get("/v1/events/newest?topic=reviews").json()["events"] == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("topic=order", "topic"),
        ("limit=0", "limit"),
        ("limit=51", "limit"),
        ("limit=1&limit=2", "limit"),
        ("n=3", "'n'"),
    ],
)
def test_a_wrong_question_names_the_parameter(api: Running, query: str, parameter: str) -> None:
    body = assert_problem(api.get(f"/v1/events/newest?{query}"), 400, "bad-query")
    assert body["errors"][0]["parameter"] == parameter


def test_while_redis_is_filled_again_nothing_is_told(api: Running, state: State) -> None:
    count(state, "orders", ORDER)
    assert len(api.get("/v1/events/newest").json()["events"]) == 1
    for key in state.redis.scan_iter(match=state.keys.space + "*"):
        state.redis.delete(key)
    assert_problem(api.get("/v1/events/newest"), 503, "rebuilding")


def test_a_topic_of_that_name_can_still_be_sent_to(api: Running) -> None:
    body = assert_problem(api.post("/v1/events/newest", json={}), 404, "unknown-topic")
    assert body["known"] == list(CONTRACTS)


def test_they_are_pushed_when_they_change_and_only_then(api: Running, state: State) -> None:
    count(state, "orders", ORDER)
    with listening(api) as events:
        first, event_id = events.until("events")
        assert event_id is None
        assert [e["offset"] for e in first["events"]] == [0]
        state.order(100)  # counted by a writer that keeps no list
        assert events.until("snapshot")[0]["as_of"]["position"] >= 1
        count(state, "orders", {**ORDER, "status": "shipped"})
        second, _ = events.until("events")
        assert [e["status"] for e in second["events"]] == ["shipped", "paid"]
        assert second["as_of"]["position"] == 3

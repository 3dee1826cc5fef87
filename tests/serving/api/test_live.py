"""Push: absolute snapshots, soon after each commit and never too many, resumable, never going back."""

import threading
import time

import jsonschema_rs
import pytest

from infra.generation import new_generation
from serving.api.live.frames import EventId, frame, parse_event_id
from serving.api.openapi.state import SNAPSHOT
from serving.store.keys import encode_dimensions
from tests.helpers import wait_for
from tests.serving.api.kit import MINUTE, State, assert_problem, listening, serving


def test_a_client_gets_the_state_and_a_snapshot_at_once_and_one_after_a_commit(api, state):
    state.order(1_999)
    with listening(api) as events:
        kind, first, _ = events.next()
        assert (kind, first["state"]) == ("state", "live")
        snapshot, event_id = events.until("snapshot")
        assert (event_id, snapshot["revenue"]["gross"]) == ("g1-1", "19.99")
        began = time.monotonic()
        state.order(1)
        snapshot, event_id = events.until("snapshot")
        assert time.monotonic() - began < 1
        assert (event_id, snapshot["revenue"]["gross"]) == ("g1-2", "20.00")


def test_a_snapshot_holds_all_that_the_page_shows(api, state):
    state.order(1_999)
    state.order(500, MINUTE - 59 * 60)
    state.order(700, MINUTE - 60 * 60)
    state.products({"p1": ["Mug", "cups", 999]})
    items = [f"{encode_dimensions((p,))}|{m}" for p in ("p1", "p2") for m in ("revenue", "units")]
    amounts = [part for pair in zip(items, (900, 1, 300, 2), strict=True) for part in pair]
    funnel = [f"|{stage}" for stage in ("product_view", "purchase")]
    payments = ["card|succeeded", 3, "card|failed", 1]
    events = ["orders|records", 4, "orders|refused", 1, "orders|changed", 3]
    state.apply(
        "order_items",
        ("A", state.keys.bucket("items", "all", 0), amounts),
        ("A", state.keys.bucket("funnel", "all", 0), [funnel[0], 4, funnel[1], 1]),
        ("A", state.keys.bucket("payments", "all", 0), payments),
        ("A", state.keys.bucket("customers", "all", 0), ["DE|new_customers", 7]),
        ("A", state.keys.bucket("events", "all", 0), events),
    )
    with listening(api) as stream:
        found, _ = stream.until("snapshot")
    assert found.keys() == SNAPSHOT["properties"].keys()
    jsonschema_rs.validate(SNAPSHOT, found)
    assert found["revenue"]["gross"] == "31.99"
    assert [(row["start"], row["gross"]) for row in found["revenue_by_minute"]] == [
        ("2026-05-17T08:31:00Z", "5.00"),
        ("2026-05-17T09:30:00Z", "19.99"),
    ]
    assert found["items"]["units"] == 3
    assert found["top_products"] == [
        {"product_id": "p1", "name": "Mug", "category": "cups", "revenue": "9.00", "units": 1},
        {"product_id": "p2", "name": None, "category": None, "revenue": "3.00", "units": 2},
    ]
    assert (found["funnel"]["product_view"], found["funnel"]["conversion"]) == (4, 0.25)
    assert found["payments"]["success_rate"] == 0.75
    assert found["customers"]["new_customers"] == 7
    assert found["active"] == {"sessions": 0, "visitors": 0}
    assert found["events"] == [{"topic": "orders", "records": 4, "refused": 1, "error_rate": 0.25}]
    assert found["exactness"]["exact"] is True
    assert found["lag"]["records_behind"] == 0
    assert found["freshness"]["freshness_ms"] == 0
    assert (found["currency"], found["time_zone"]) == ("USD", "UTC")
    assert found["as_of"]["position"] == 5


def test_snapshots_are_coalesced_and_the_last_one_is_never_lost(api, state):
    """500 commits as fast as they go: far fewer snapshots, positions that only grow, and the end is shown."""
    with listening(api) as events:
        events.until("snapshot")
        began = time.monotonic()
        writer = threading.Thread(target=lambda: [state.order(1) for _ in range(500)])
        writer.start()
        positions = [0]
        while positions[-1] < 500:
            snapshot, event_id = events.until("snapshot")
            assert event_id == f"g1-{snapshot['as_of']['position']}"
            assert snapshot["revenue"]["orders"] == snapshot["as_of"]["position"]
            positions.append(snapshot["as_of"]["position"])
        took = time.monotonic() - began
        writer.join()
    assert positions == sorted(set(positions))
    assert len(positions) - 1 <= took / 0.015 + 1
    assert len(positions) < 250


def test_all_clients_share_one_reader(api, state):
    with listening(api) as first, listening(api) as second, listening(api) as third:
        for events in (first, second, third):
            events.until("snapshot")
        before = api.service.hub.snapshots
        state.order(1)
        assert {events.until("snapshot")[1] for events in (first, second, third)} == {"g1-1"}
        assert api.service.hub.snapshots == before + 1
        assert api.service.hub.clients == 3
        assert state.redis.pubsub_numsub(state.keys.channel)[0][1] == 1
    wait_for(lambda: api.service.hub.clients == 0, what="the clients' end")
    wait_for(lambda: state.redis.pubsub_numsub(state.keys.channel)[0][1] == 0, what="the subscription's end")
    state.order(1)
    assert api.service.hub.snapshots == before + 1


def test_who_resumes_at_the_newest_gets_only_what_comes_after(api, state):
    state.order(1)
    with listening(api, last="g1-1") as events:
        assert events.next()[0] == "state"
        state.order(1)
        kind, _, event_id = events.next()
        assert (kind, event_id) == ("snapshot", "g1-2")


def test_who_resumes_behind_gets_the_newest_at_once(api, state):
    for _ in range(3):
        state.order(1)
    for last in ("g1-1", "g0-99", "nonsense", "g1-x", "g1-99-00000000"):
        with listening(api, last=last) as events:
            assert events.until("snapshot")[1] == "g1-3"


def test_who_has_seen_more_than_there_is_waits_for_it(api, state):
    """After a disaster of the whole machine a state may be older than what a client has: it is not sent back."""
    state.order(1)
    with listening(api, last="g1-3") as events:
        kind, data, _ = events.next()
        assert (kind, data["state"]) == ("state", "rebuilding")
        state.order(1)
        state.order(1)
        kind, data, event_id = events.next()
        assert (kind, event_id, data["as_of"]["position"]) == ("snapshot", "g1-3", 3)
        state.order(1)
        assert events.until("snapshot")[1] == "g1-4"


def test_a_rebuild_is_told_and_its_end_too(api, state):
    state.order(100)
    state.order(200)
    with listening(api) as events:
        assert events.until("snapshot")[1] == "g1-2"
        for key in state.redis.scan_iter(match=state.keys.space + "*"):
            state.redis.delete(key)
        told, _ = events.until("state")
        while told["state"] == "live":  # one that was on its way
            told, _ = events.until("state")
        assert (told["state"], told["as_of"]) == ("rebuilding", None)
        state.begin()
        state.order(100)
        state.order(200)
        seen = []
        while "snapshot" not in seen:
            kind, data, event_id = events.next()
            seen.append(kind)
        assert (event_id, data["revenue"]["gross"]) == ("g1-2", "3.00")


def test_another_generation_is_pushed_without_a_new_connection(api, state):
    state.order(100)
    with listening(api) as events:
        assert events.until("snapshot")[1] == "g1-1"
        second = State(state.settings, "g2")
        new_generation(state.settings)
        assert events.until("snapshot")[1] == "g2-0"
        second.order(700)
        snapshot, event_id = events.until("snapshot")
        assert (event_id, snapshot["revenue"]["gross"]) == ("g2-1", "7.00")
        second.close()


def test_what_changes_without_a_commit_is_told_too(api, state):
    with listening(api) as events:
        events.until("snapshot")
        state.redis.hset(state.keys.held, "orders/0", "hole at 0")
        told, _ = events.until("state")
        assert (told["state"], told["exactness"]["held"]) == ("live", {"orders/0": "hole at 0"})


def test_a_client_too_many_gets_a_problem(world, state):
    with serving(world.replace(api_max_live_clients=1)) as api:
        api.wait_ready()
        with listening(api) as events:
            events.until("snapshot")
            body = assert_problem(api.get("/v1/live"), 503, "too-many-clients")
            assert "at most 1 clients" in body["detail"]
        wait_for(lambda: api.service.hub.clients == 0, what="the client's end")
        with listening(api) as events:
            events.until("snapshot")


def test_a_stream_is_not_compressed_and_not_cached(api):
    headers = {"Accept-Encoding": "gzip"}
    with api.http.stream("GET", "/v1/live", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        assert response.headers["cache-control"] == "no-store"
        assert next(response.iter_text()).startswith("retry: 1000\n\n")


def test_a_silent_stream_has_heartbeats(api, state, monkeypatch):
    monkeypatch.setattr("serving.api.live.client.HEARTBEAT_SECONDS", 0.1)
    with api.http.stream("GET", "/v1/live") as response:
        chunks = response.iter_text()
        text = ""
        while text.count(": heartbeat\n\n") < 3:
            text += next(chunks)


def test_the_server_ends_although_clients_listen(world, state):
    with serving(world) as api:
        api.wait_ready()
        with listening(api) as events:
            events.until("snapshot")
            began = time.monotonic()
            api.server.should_exit = True
            with pytest.raises(StopIteration):
                events.until("never")
            assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "g1",
        "g-1",
        "g1-",
        "g1--1",
        "1-1",
        "g1-1",
        "g1-1-0a1b2c3d\n",
        "g1-1-0A",
        "g1-" + "9" * 19 + "-0a1b2c3d",
    ],
)
def test_an_id_that_is_none_of_ours_is_no_id(text):
    assert parse_event_id(text) is None


def test_a_frame_is_what_event_source_reads():
    event_id = EventId("g12", 345, "0a1b2c3d")
    assert parse_event_id(str(event_id)) == event_id
    assert frame("snapshot", {"a": "x\ny"}, event_id) == (
        b'id: g12-345-0a1b2c3d\nevent: snapshot\ndata: {"a":"x\\ny"}\n\n'
    )
    assert frame("state", {}) == b"event: state\ndata: {}\n\n"

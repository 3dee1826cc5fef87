"""The API goes from one generation's process to another's: no connection refused, no answer that goes back, no mix."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import httpx
import pytest

from infra.entry import EXIT_TERMINAL
from infra.generation import current_generation
from infra.generations import read_generations
from infra.runtime.ports import HOST
from infra.settings import Settings
from serving.api.door import REQUEST_SECONDS
from serving.api.handover import LOCK_FILE, Handover, ServingLock
from streams.lake.place import lake_root
from tests.helpers import wait_for
from tests.serving.api.handover_kit import GROSS, PATH, Clients, World, assert_never_back, two_generations
from tests.serving.api.kit import Events, free_port
from tests.serving.lake_kit import SmallLake

BACK_SECONDS = 20.0  # a push client has the other generation, on a busy machine too


@pytest.fixture
def both(world: Settings) -> Iterator[World]:
    with two_generations(world) as found:
        yield found


def answer(world: World, path: str = PATH, port: int | None = None, **options) -> httpx.Response:
    url = world.url if port is None else f"http://{HOST}:{port}"
    return httpx.get(f"{url}{path}", trust_env=False, **{"timeout": 20, **options})


def generation(world: World, **options) -> str:
    body = answer(world, **options).json()
    found = body["as_of"]["generation"]
    assert body["rows"][0]["gross"] == GROSS[found]
    return found


def test_readers_go_to_the_other_generation_and_back_and_nobody_is_refused_or_sent_back(both):
    with both.api(1), both.api(2), Clients(both) as clients:
        clients.wait_for("g1", 0)
        for number in (2, 1, 2, 1):
            both.point_to(number)
            began, recorded, _ = both.switches[-1]
            clients.wait_for(f"g{number}", began)
            first = {}
            for client, at, name in clients.pushes:
                if at > began and name == f"g{number}":
                    first.setdefault(client, at)
            assert len(first) == 2
            assert max(first.values()) - recorded < BACK_SECONDS
            took = min(s.ended for s in clients.seen if s.began > began and s.generation == f"g{number}")
            print(f"to g{number}: {took - recorded:.3f} s, pushed {max(first.values()) - recorded:.3f} s")
        time.sleep(0.3)
    assert {s.status for s in clients.seen} == {200}
    assert_never_back(clients.seen, both.switches)
    longest = max(s.ended - s.began for s in clients.seen)
    print(
        f"{len(clients.seen)} answers, {clients.cut} cut off and asked again, the longest took {longest:.3f} s"
    )


def test_tables_do_not_go_back_and_are_there_again_when_the_other_lake_has_come_so_far(both):
    topics = {topic: each.topic_id for topic, each in current_generation(both.settings).topics.items()}
    with ExitStack() as stack:
        lakes = {
            name: SmallLake(lake_root(both.settings, name), both.settings, name, topics) for name in GROSS
        }
        for name, lake in lakes.items():
            stack.callback(lake.close)
            lake.write({"orders": []}, position={"g1": 10, "g2": 7}[name])
        stack.enter_context(both.api(1))
        stack.enter_context(both.api(2))

        def tables() -> tuple[int, str | None, str]:
            found = answer(both, "/v1/lake")
            return found.status_code, found.json().get("as_of", {}).get("generation"), found.text

        assert tables()[:2] == (200, "g1")
        both.point_to(2)
        wait_for(lambda: generation(both) == "g2", what="generation 2")
        status, _, text = tables()
        assert status == 503
        assert "the lake of g2 has still to take in 3 records" in text
        lakes["g2"].write({"orders": []}, position=3)
        wait_for(lambda: tables()[:2] == (200, "g2"), what="the tables of generation 2")


@pytest.mark.cases(0)
def test_switches_in_quick_succession_end_at_the_last_one(both):
    with both.api(1), both.api(2), Clients(both) as clients:
        clients.wait_for("g1", 0)
        for number in (2, 1, 2, 1, 2):
            both.point_to(number)
        clients.wait_for("g2", both.switches[-1][0])
        assert generation(both) == "g2"
    assert {s.status for s in clients.seen} == {200}
    assert {name: found for name, _, found in clients.pushes} == {"pushed 0": "g2", "pushed 1": "g2"}


@pytest.mark.parametrize(
    ("victim", "failpoint"),
    [
        (1, "handover.before_release"),
        pytest.param(1, "handover.before_close", marks=pytest.mark.longhaul),
        pytest.param(2, "handover.after_lock", marks=pytest.mark.longhaul),
    ],
)
@pytest.mark.cases(1)
def test_a_process_that_is_killed_during_the_switch_is_no_reason_to_refuse_anybody(both, victim, failpoint):
    changes = {n: {"dataflow_failpoint": failpoint} if n == victim else {} for n in (1, 2)}
    with both.api(1, **changes[1]) as one, both.api(2, **changes[2]) as two, Clients(both) as clients:
        clients.wait_for("g1", 0)
        both.point_to(2)
        dying = {1: one, 2: two}[victim]
        wait_for(lambda: not dying.alive(), what="the kill")
        dying.launch()
        clients.wait_for("g2", both.switches[-1][0])
        dying.wait_ready()
        both.point_to(1)
        clients.wait_for("g1", both.switches[-1][0])
    assert (both.settings.state_dir / "failpoints" / failpoint).exists()
    assert {s.status for s in clients.seen} == {200}
    assert_never_back(clients.seen, both.switches)


@pytest.mark.cases(0)
def test_a_process_that_serves_and_is_killed_is_missed_and_nobody_is_refused(both):
    with both.api(1) as one, both.api(2) as two, Clients(both, pushed=0) as clients:
        clients.wait_for("g1", 0)
        one.kill()
        killed = time.monotonic()
        # The other one is not live, so those who ask wait.
        with pytest.raises(httpx.ReadTimeout):
            answer(both, timeout=0.5)
        one.start()
        clients.wait_for("g1", killed)
        two.kill()
        both.point_to(2)
        began = both.switches[-1][0]
        with pytest.raises(httpx.ReadTimeout):
            answer(both, timeout=0.5)
        two.start()
        clients.wait_for("g2", began)
    assert {s.status for s in clients.seen} == {200}
    assert_never_back(clients.seen, both.switches)


@pytest.mark.cases(0)
def test_what_a_killed_process_had_told_is_told_of_no_less_by_the_other_generation(both):
    with both.api(1) as one, both.api(2):
        for _ in range(3):
            both.states["g1"].apply("orders")
        wait_for(lambda: answer(both).json()["as_of"]["position"] == 4, what="what g1 has by now")
        one.kill()
        both.point_to(2)
        found = answer(both)
        assert found.status_code == 503, found.text
        assert "rebuilding" in found.json()["type"]
        for _ in range(3):
            both.states["g2"].apply("orders")
        wait_for(lambda: answer(both).status_code == 200, what="g2, as far as g1 was")
        body = answer(both).json()
        assert (body["as_of"]["generation"], body["as_of"]["position"]) == ("g2", 4)


@pytest.mark.cases(0)
def test_it_is_so_also_when_the_one_that_comes_next_is_killed_too(both):
    failpoint = "handover.after_hold"
    with both.api(1) as one, both.api(2, dataflow_failpoint=failpoint) as two:
        for _ in range(3):
            both.states["g1"].apply("orders")
        wait_for(lambda: answer(both).json()["as_of"]["position"] == 4, what="what g1 has by now")
        one.kill()
        both.point_to(2)
        wait_for(lambda: not two.alive(), what="the kill")
        two.launch()
        found = answer(both)
        assert (found.status_code, "rebuilding" in found.text) == (503, True), found.text
        for _ in range(3):
            both.states["g2"].apply("orders")
        wait_for(lambda: answer(both).status_code == 200, what="g2, as far as g1 was")
        assert answer(both).json()["as_of"]["position"] == 4


def test_a_request_that_is_being_answered_ends_and_only_then_does_the_other_generation_begin(both):
    with both.api(1), both.api(2):
        assert generation(both) == "g1"
        with socket.create_connection((HOST, both.settings.api_port)) as slow:
            slow.settimeout(10)
            body = b'{"a": 1}'
            head = f"POST /v1/events/orders HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
            slow.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body[:1])
            time.sleep(0.2)
            began = time.monotonic()
            both.point_to(2)
            time.sleep(0.5)
            with suppress(httpx.ReadTimeout):
                answer(both, timeout=0.3)
                assert time.monotonic() - began > REQUEST_SECONDS, (
                    "answered while a request was being answered"
                )
                pytest.fail(f"a switch did not come about within {REQUEST_SECONDS:.0f} s")
            slow.sendall(body[1:])
            got = b"".join(iter(lambda: slow.recv(65_536), b""))
        # It is told that this was the last on its connection, and the connection is closed.
        assert b'"instance":"/v1/events/orders"' in got
        assert b"connection: close\r\n" in got.lower()
        assert generation(both) == "g2"


@pytest.mark.cases(0)
def test_who_does_not_end_its_request_holds_nobody_up_for_long(both):
    with both.api(1), both.api(2):
        assert generation(both) == "g1"
        with socket.create_connection((HOST, both.settings.api_port)) as stuck:
            stuck.sendall(
                f"POST /v1/events/orders HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\n{{".encode()
            )
            time.sleep(0.2)
            both.point_to(2)
            began = time.monotonic()
            assert generation(both) == "g2"
            assert time.monotonic() - began < 5


@pytest.mark.cases(0)
def test_who_asked_for_the_switch_is_answered_by_the_process_that_it_takes_the_door_from(both):
    """The command ends after the switch: nobody waits for that, and its answer is not cut off."""
    with both.api(1), both.api(2):
        assert generation(both) == "g1"
        with socket.create_connection((HOST, both.settings.api_port)) as asking:
            asking.settimeout(10)
            body = b'{"soon": 1}'
            head = f"POST /v1/replays/g1/pause HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
            asking.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body[:1])
            time.sleep(0.2)
            both.point_to(2)
            assert generation(both) == "g2", "the door was not let go of while somebody waited for an act"
            # Longer than anybody else's request is left to end.
            time.sleep(REQUEST_SECONDS + 1)
            asking.sendall(body[1:])
            got = b"".join(iter(lambda: asking.recv(65_536), b""))
        assert b"400 Bad Request" in got
        assert b"expected one of none" in got
        assert generation(both) == "g2"


def test_whoever_resumes_with_an_id_of_the_other_generation_gets_a_whole_snapshot_at_once(both):
    with both.api(1), both.api(2), httpx.Client(base_url=both.url, trust_env=False, timeout=10) as client:
        with client.stream("GET", "/v1/live") as stream:
            events = Events(stream)
            _, last = events.until("snapshot")
            assert last == "g1-1"
            both.point_to(2)
            events.to_the_end()
            time.sleep(0.1)  # as it is told to
        with client.stream("GET", "/v1/live", headers={"Last-Event-ID": events.last}) as stream:
            snapshot, last = Events(stream).until("snapshot", attempts=2)
        assert (last, snapshot["revenue"]["gross"]) == ("g2-1", "2.00")


def test_a_process_whose_generation_is_not_live_is_ready_and_shows_it_on_a_port_of_its_own(both):
    port = free_port()
    with both.api(1), both.api(2, api_preview_port=port) as two:
        assert (generation(both), generation(both, port=port)) == ("g1", "g2")
        assert "text/html" in answer(both, "/", port).headers["content-type"]
        assert two.status()["serves"] is False
        # It would end with its generation, and leave the removal half done.
        for act in ("cancel", "pause"):
            refused = httpx.post(f"http://{HOST}:{port}/v1/replays/g2/{act}", timeout=60, trust_env=False)
            assert (refused.status_code, "ask the live one's" in refused.text) == (409, True), refused.text
        assert read_generations(both.settings).running() == [1, 2]
        both.point_to(2)
        wait_for(lambda: two.status()["serves"], what="the switch")
        assert (generation(both), generation(both, port=port)) == ("g2", "g2")
        both.point_to(1)
        wait_for(lambda: not two.status()["serves"], what="the switch back")
        assert (generation(both), generation(both, port=port)) == ("g1", "g2")


def test_a_process_is_not_ready_because_another_one_answers(both):
    unknown = both.api(3)
    try:
        with both.api(1):
            unknown.launch()
            assert generation(both) == "g1"
            time.sleep(2)
            assert unknown.alive()
            assert not unknown.ready()
    finally:
        unknown.__exit__()


@pytest.mark.cases(0)
def test_a_process_bound_to_none_waits_for_its_turn_too(both):
    with both.api(1):
        assert generation(both) == "g1"
        with both.api(None) as free:
            assert free.status()["serves"] is False
            both.point_to(2)
            wait_for(lambda: free.status()["serves"], what="its turn")
            wait_for(lambda: generation(both) == "g2", what="generation 2")


def test_sigterm_hands_over_to_another_process_of_the_generation(both):
    with both.api(1) as one, Clients(both, pushed=0) as clients:
        clients.wait_for("g1", 0)
        one.terminate()
        assert one.ended(10) == 0
        ended = time.monotonic()
        one.start()
        clients.wait_for("g1", ended)
    assert {s.status for s in clients.seen} == {200}


def test_a_number_that_is_no_listening_socket_stops_it_with_the_reason(both, tmp_path):
    with socket.socket() as idle:
        both.listener.close()
        broken = World(both.settings, idle)
        process = broken.api(1)
        try:
            process.launch()
            assert process.ended(20) == EXIT_TERMINAL
            assert "API_SOCKET" in process.log()
        finally:
            process.__exit__()


@pytest.mark.cases(0)
def test_a_preview_port_that_is_taken_keeps_nobody_from_being_answered(both):
    with both.api(1, api_preview_port=both.settings.api_port) as one:
        assert generation(both) == "g1"
        assert "API_PREVIEW_PORT" in one.log()


def test_the_status_file_says_whose_turn_it_is(both):
    with both.api(1) as one:
        assert generation(both) == "g1"
        status = one.wait_status("its turn", lambda status: status["serves"])
        assert (status["state"], status["generation"]) == ("running", 1)
        assert json.dumps(status)


def test_what_was_told_is_known_also_after_the_one_that_knew_it_has_died(tmp_path):
    file = tmp_path / LOCK_FILE
    one = ServingLock(file)
    assert one.take()
    assert (one.told(), one.died()) == ({}, None)
    one.hold(1, {})
    one.release({"t/0": 7})
    two = ServingLock(file)
    assert two.take()
    assert (two.told(), two.died()) == ({"t/0": 7}, None)
    two.hold(2, two.told())
    os.close(two._handle)  # as the kernel does when it dies
    again = ServingLock(file)
    assert again.take()
    assert (again.told(), again.died()) == ({"t/0": 7}, 2)
    again.hold(3, {"a/0": 1})  # shorter than what was there
    assert (again.told(), again.died(), file.read_bytes()[-1:]) == ({"a/0": 1}, 3, b"}")


class StuckDoor:
    """Opens, and cannot be closed."""

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        raise RuntimeError("it is stuck")


def test_a_process_that_cannot_close_its_door_ends_before_it_lets_go_of_the_lock(settings):
    async def run() -> None:
        service = SimpleNamespace(
            is_known=True, on_known=None, served={}, remember=lambda _: None, read=lambda: asyncio.sleep(0)
        )
        handover = Handover(settings.replace(api_port=free_port()), service, StuckDoor())
        handover.start(lambda: None)
        other = ServingLock(settings.state_dir / LOCK_FILE)
        await asyncio.sleep(0.1)
        assert not other.take()
        with pytest.raises(RuntimeError, match="stuck"):
            await handover.end()
        assert not other.take()

    asyncio.run(run())

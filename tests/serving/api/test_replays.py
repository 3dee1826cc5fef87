"""Replays over REST: read by everybody who may read, changed by who may administer; each act is the command's own."""

import asyncio
import os

import pytest
from confluent_kafka import Producer

from infra.code import ROOT
from infra.generation import source_bounds
from infra.generations import State, read_generations
from infra.kafka import admin, identities
from infra.runtime.jobs import api_spec
from infra.settings import Settings
from replay.plan import UNRECORDED
from schemas.metrics import METRICS
from serving.api.problems import RETRY_SOON, Problem
from serving.api.replays.work import Replays
from tests.helpers import isolated_settings
from tests.serving.api.kit import Running, assert_problem, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def replays(shop) -> Running:
    """The API of an environment with topics and schemas, whose platform nobody supervises."""
    settings = shop.replace(dataflow_api_keys="reader:reader-secret:read,boss:boss-secret:read+write+admin")
    with serving(settings) as running:
        running.http.headers["X-API-Key"] = "boss-secret"
        yield running


def all_of(api: Running) -> dict:
    answer = api.http.get("/v1/replays")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_live_generation_is_told_with_what_it_has_counted(replays):
    document = all_of(replays)
    [one] = [each for each in document["generations"] if each["live"]]
    assert (document["live"], one["generation"], one["state"]) == ("g1", "g1", "running")
    assert set(one["progress"]) == {
        "records", "numbers_behind", "lake_behind", "manifest", "filled", "records_per_s", "seconds_to_go"
    }  # fmt: skip
    assert replays.http.get("/v1/replays/g1").json()["generation"] == "g1"
    for name in ("g9", "x", "g0", "g" + "9" * 30):
        assert_problem(replays.http.get(f"/v1/replays/{name}"), 404, "unknown-generation")


def test_who_may_only_read_changes_nothing(replays):
    reader = {"X-API-Key": "reader-secret"}
    assert replays.http.get("/v1/replays", headers=reader).status_code == 200
    for path in ("", "/g1/promote", "/rollback", "/g1/pause", "/g1/cancel"):
        answer = replays.http.post(f"/v1/replays{path}", headers=reader)
        assert_problem(answer, 403, "forbidden")
    # It is work for minutes, and what it finds lets a promote through.
    assert_problem(replays.http.get("/v1/replays/g2/diff", headers=reader), 403, "forbidden")
    assert list(read_generations(replays.settings).known) == [1]


def test_a_plan_is_made_by_the_settings_of_the_tree(replays):
    """The live one goes on by those that it was made by, until a replay by others is promoted."""
    edited = replays.settings.replace(shop_timezone="Europe/Vienna", max_event_bytes=70_000)
    given = api_spec(edited, 9).env | {"SHOP_TIMEZONE": "UTC", "MAX_EVENT_BYTES": "262144"}
    made = Replays(Settings.load(given))
    for act in ("plan", "run", "diff"):
        env = made._environment(act)
        assert (env["SHOP_TIMEZONE"], env["MAX_EVENT_BYTES"]) == ("Europe/Vienna", "70000")
        assert env["PYTHONPATH"] == str(ROOT)
    # Whoever goes back while the tree is half edited does so by the code that is live.
    for act in ("rollback", "promote", "pause", "resume", "cancel", "gc"):
        env = made._environment(act)
        assert (env["SHOP_TIMEZONE"], env["MAX_EVENT_BYTES"]) == ("UTC", "262144")
        assert env.get("PYTHONPATH") == os.environ.get("PYTHONPATH")


def test_what_a_plan_says_before_it_fails_is_no_answer_and_a_difference_is(replays):
    commands = replays.service.replays
    assert commands._answer("diff", 1, b'{"equal": false}', b"") == {"equal": False}
    with pytest.raises(Problem, match=r"expected 9\.0 GB of room"):
        commands._answer(
            "plan", 1, b'{"number": 2}', b"Error: expected 9.0 GB of room for g2, and 0.1 GB are free"
        )


def test_what_may_have_been_done_is_not_to_be_asked_for_again_at_once(tmp_path, monkeypatch):
    """A rollback that is asked for twice goes forth again."""
    monkeypatch.setattr("serving.api.replays.work.READ_SECONDS", 0.05)
    replays = Replays(isolated_settings(tmp_path))
    for asked, headers in (
        (lambda: replays.read("plan"), RETRY_SOON),
        (lambda: replays.change("rollback", seconds=0.05), {}),
    ):
        with pytest.raises(Problem, match="was given up") as refused:
            asyncio.run(asked())
        assert (refused.value.status, refused.value.headers) == (503, headers)


def test_a_look_that_takes_long_is_waited_for_and_not_begun_again(tmp_path, monkeypatch):
    looks = []

    def begin(*_):
        looks.append(asyncio.get_running_loop().create_future())
        return looks[-1]

    async def asked() -> list[dict]:
        replays = Replays(isolated_settings(tmp_path))
        monkeypatch.setattr("serving.api.replays.work.in_thread", begin)
        monkeypatch.setattr("serving.api.replays.work.FRESH", 0.0)
        both = [asyncio.ensure_future(replays.status()) for _ in range(2)]
        await asyncio.sleep(0.05)
        looks[0].set_result({"live": "g1"})
        found = [await each for each in both]
        third = asyncio.ensure_future(replays.status())
        await asyncio.sleep(0.05)
        looks[1].set_result({"live": "g2"})
        return [*found, await third]

    assert asyncio.run(asked()) == [{"live": "g1"}, {"live": "g1"}, {"live": "g2"}]
    assert len(looks) == 2


def test_whoever_has_changed_something_looks_at_what_has_changed(tmp_path, monkeypatch):
    """A look that began before may still be on its way."""
    looks = []

    def begin(*_):
        looks.append(asyncio.get_running_loop().create_future())
        return looks[-1]

    async def asked() -> list[dict]:
        replays = Replays(isolated_settings(tmp_path))
        monkeypatch.setattr("serving.api.replays.work.in_thread", begin)
        early = asyncio.ensure_future(replays.status())
        await asyncio.sleep(0)
        for called in (done, refused):
            monkeypatch.setattr(replays, "_call", called)
            try:
                await replays.change("run")
            except Problem:
                assert called is refused
            late = asyncio.ensure_future(replays.status())
            await asyncio.sleep(0)
            looks[-1].set_result({"live": f"g{len(looks)}"})
            assert await late == {"live": f"g{len(looks)}"}
        looks[0].set_result({"live": "g1"})
        return [await early]

    async def done(*_) -> None:
        return None

    async def refused(*_) -> None:
        raise Problem(503, "too-slow", "it may have been done all the same")

    assert asyncio.run(asked()) == [{"live": "g1"}]
    assert len(looks) == 3


def test_a_difference_is_from_the_live_one_whichever_generation_the_api_is_of(replays, monkeypatch):
    compared = []

    async def live() -> str:
        return "g7"

    async def compare(*names: str) -> dict:
        compared.append(names)
        return {"equal": True}

    monkeypatch.setattr(replays.service.replays, "live", live)
    monkeypatch.setattr(replays.service.replays, "compare", compare)
    assert replays.http.get("/v1/replays/g2/diff").json() == {"equal": True}
    assert compared == [("g7", "g2")]
    monkeypatch.undo()
    assert asyncio.run(Replays(replays.settings).live()) == "g1"


def test_a_change_that_a_service_did_not_answer_to_is_not_to_be_asked_for_again_at_once(replays):
    commands = replays.service.replays
    for act, headers in (("rollback", {}), ("plan", RETRY_SOON)):
        with pytest.raises(Problem) as told:
            commands._answer(act, 75, b"", b"Error: the broker does not answer")
        assert (told.value.status, told.value.headers) == (503, headers)
        assert told.value.detail.startswith("the broker does not answer")


def test_a_body_that_is_none_is_refused_by_name(replays):
    for path, body, why in (
        ("", {"throttle": "fast"}, "throttle: expected a whole number"),
        ("", {"throttle": True}, "throttle: expected a whole number"),
        ("", {"pace": 1}, "expected one of throttle"),
        ("", {"throttle": 10_000_001}, "throttle: expected records a second, 0 (for none) to 10000000"),
        ("/rollback", {"although_wrong": 1}, "although_wrong: expected true or false"),
        ("", {"tables": "daily_sales"}, "tables: expected an array of names"),
        ("", {"metrics": [1]}, "metrics: expected names such as"),
        ("", {"tables": ["\u0000"]}, "tables: expected names such as"),
        ("", {"lake_first": 1}, "lake_first: expected true or false"),
        ("", {"from": ["yesterday"]}, "from: expected times such as"),
        ("", {"from": "2h"}, "from: expected an array"),
        ("", {"topics": ["../x"]}, "topics: expected names such as"),
        ("", {"days": 1}, "days: expected text"),
        ("", {"days": "2026-03-07..2026-03-01"}, "days: expected a day such as"),
        ("/rollback", {"patience": -1}, "patience: expected seconds"),
        ("/rollback", {"leaving": "g0"}, "leaving: expected a generation such as g2"),
        ("/g1/promote", {"max_difference": 3}, "max_difference: expected a share"),
        ("/g1/pause", {"soon": True}, "expected one of none"),
    ):
        problem = assert_problem(replays.http.post(f"/v1/replays{path}", json=body), 400, "bad-query")
        assert why in problem["detail"]
    assert_problem(replays.http.post("/v1/replays/g1/explode"), 404, "not-found")
    for params in (
        {"throttle": "-1"},
        {"days": "2026-02-30"},
        {"days": "٢٠٢٦-03-01"},
        {"lake_first": "perhaps"},
        {"tables": "daily_sales"},
        {"table": "\0"},
        {"from": "orders/0"},
        {"from": "--yes"},
    ):
        assert_problem(replays.http.get("/v1/replays/plan", params=params), 400, "bad-query")


def test_a_replay_is_planned_run_and_given_up_and_what_cannot_be_is_told(replays):
    settings = replays.settings
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for topic in ("orders", "reviews"):
        producer.produce(settings.topic_prefix + topic, b"none", b"key", 0)
    assert producer.flush(30) == 0
    plan = replays.http.get("/v1/replays/plan", timeout=120).json()
    # Nobody has recorded by which code g1 was made: in doubt everything is otherwise, and is said to be.
    assert (plan["number"], plan["base"], plan["changed"]) == (2, 1, [UNRECORDED])
    assert set(plan["affects"]["metrics"]) == METRICS.keys()
    _, ends = source_bounds(settings, read_generations(settings).of(1).generation)
    end = ends["orders", 0]
    day = replays.http.get("/v1/replays/plan", params={"days": "2026-03-01"}, timeout=120).json()
    assert day["days"] == ["2026-03-01", "2026-03-01"]
    trial = replays.http.get("/v1/replays/plan", params={"topic": "reviews"}, timeout=120).json()
    assert trial["trial"]
    assert trial["records"] == sum(o for (topic, _), o in ends.items() if topic == "reviews")
    assert "trial" not in plan
    for params, why in (
        ({"days": "9999-03-01"}, "9999-03-01 is still to come"),
        ({"metric": ["revenue", "profit"]}, "saw profit"),
        ({"table": "daily_sales"}, "to be recorded by which code g1 was made"),
        ({"from": f"orders/0:{end + 9}"}, f"(where it ends); saw {end + 9}"),
        ({"from": "9999-03-01T08:00Z"}, "expected a time that has come"),
        ({"from": [f"{t}/{p}:{o}" for (t, p), o in ends.items()]}, "and there is none from there on"),
    ):
        found = replays.http.get("/v1/replays/plan", params=params, timeout=120)
        assert why in assert_problem(found, 409, "replay-refused")["detail"]
    assert list(read_generations(settings).known) == [1]  # a plan changes nothing

    # Somebody has looked at a plan, and it is another one by now.
    for planned, why in (
        ("g1-g3-" + plan["code"], "look at the plan again"),
        ("g1", "expected what a plan says"),
    ):
        found = replays.http.post("/v1/replays", json={"planned": planned}, timeout=120)
        code, problem = (409, "replay-refused") if "-" in planned else (400, "bad-query")
        assert why in assert_problem(found, code, problem)["detail"]
    assert list(read_generations(settings).known) == [1]
    asked = {"throttle": 500, "days": "2026-03-01..2026-03-07", "planned": plan["planned"]}
    began = replays.http.post("/v1/replays", json=asked, timeout=120)
    assert (began.status_code, began.headers["location"]) == (202, "/v1/replays/g2"), began.text
    assert began.json()["plan"]["throttle"] == 500
    assert replays.http.get("/v1/replays/g2").json()["days"] == ["2026-03-01", "2026-03-07"]
    recorded = read_generations(settings).of(2)
    topics = {recorded.generation.judged_topic(settings), recorded.generation.dead_letter_topic(settings)}
    client = admin(settings.kafka_bootstrap_servers)
    assert set(identities(client, topics)) == topics

    second = assert_problem(replays.http.post("/v1/replays", timeout=120), 409, "replay-refused")
    assert "generation g2 is one" in second["detail"]
    for path, why in (
        ("/g2/promote", "caught up"),
        ("/g1/pause", "expected a generation that is not live"),
        ("/g7/promote", "g7 was never started"),
        ("/rollback", "there was none before"),
    ):
        problem = assert_problem(replays.http.post(f"/v1/replays{path}", timeout=120), 409, "replay-refused")
        assert why in problem["detail"]
    again = replays.http.post("/v1/replays/rollback", json={"leaving": "g7"}, timeout=120)
    assert "expected g7 to be live" in assert_problem(again, 409, "replay-refused")["detail"]

    assert replays.http.post("/v1/replays/g2/pause", timeout=120).json() == {"paused": "g2"}
    assert read_generations(settings).of(2).state is State.PAUSED
    assert replays.http.post("/v1/replays/g2/resume", timeout=120).json() == {"resumed": "g2"}
    [removed] = replays.http.post("/v1/replays/g2/cancel", timeout=120).json()["removed"]
    assert removed["generation"] == "g2"
    assert identities(client, topics) == {}
    assert read_generations(settings).known[2].state is State.GONE
    assert_problem(replays.http.post("/v1/replays/g2/promote", timeout=120), 409, "replay-refused")

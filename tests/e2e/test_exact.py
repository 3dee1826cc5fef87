"""The whole platform, real processes all: REST equals the ground truth to the cent, whatever is killed on the way."""

import json

import pytest
from redis import Redis

from infra.runtime.platform import LIVE, Platform
from tests.e2e.kit import Reader, Rest, Shop, expect_prefixes, expect_truth
from tests.helpers import isolated_settings, wait_for

KILLED = ("materializer", "api", "live", "valkey", "registry", "kafka")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A platform of its own: its broker and Redis get killed."""
    settings = isolated_settings(tmp_path_factory.mktemp("e2e"), live_trigger_seconds=5)
    with Platform(settings, LIVE, preferred_ports=False) as platform:
        yield platform


@pytest.fixture
def rest(running):
    asking = Rest(running.url)
    yield asking
    asking.http.close()


@pytest.mark.longhaul
@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_rest_is_exact_after_every_process_was_killed_while_events_flow(running, rest):
    shop = Shop(running.settings, 12_000)
    shop.produce(2_000)
    rest.caught_up(len(shop.produced))
    expect_truth(rest, shop.truth, ("day", "all"))
    with Reader(running.url).asking() as reader:
        for name in KILLED:
            shop.produce(500)
            before = running.supervisor.process(name).restarts
            running.kill(name)
            shop.produce(500)
            wait_for(
                lambda n=name, b=before: running.supervisor.process(n).restarts > b, what=f"{name}'s restart"
            )
            running.wait_ready(name, 300)
            shop.produce(500)
            rest.caught_up(len(shop.produced), 300)
    assert reader.faults == []
    assert len(reader.answers) > 100
    expect_truth(rest, shop.truth)
    expect_prefixes(running.settings, reader.answers)


@pytest.mark.longhaul
@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_an_emptied_redis_says_rebuilding_until_the_same_numbers_are_back(running, rest):
    before = {
        metric: rest.rows(metric, "all", None)
        for metric in ("revenue", "items", "funnel", "clicks", "payments")
    }
    position = rest.get("/v1/status")["as_of"]["position"]
    assert position > 0
    with Redis(running.settings.redis_host, running.settings.redis_port) as redis:
        redis.flushall()
    states = set()

    def asked() -> bool:
        answer = rest.http.get("/v1/metrics/revenue", params={"grain": "all"})
        states.add((answer.status_code, answer.json().get("type")))
        return answer.status_code == 200

    wait_for(asked, 300, "the numbers")
    assert states == {(503, "/problems/rebuilding"), (200, None)}
    assert {metric: rest.rows(metric, "all", None) for metric in before} == before
    assert rest.get("/v1/status")["as_of"]["position"] == position
    assert json.dumps(rest.get("/v1/exactness")["held"]) == "{}"

"""Gold and live are the same function of the same offsets: the verifier says so while all goes on, and after kills."""

import pytest

from dataflow.commands.up import DEMO
from infra.generation import current_generation
from infra.runtime.platform import LIVE, Platform
from serving.store.keys import Keys
from tests.e2e.kit import Shop
from tests.e2e.verify_kit import Watched, exact_after_kills, expect_exact
from tests.helpers import isolated_settings, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
RATE = 150
DEMO_RECORDS = 1_000
KILLED = ("lake", "materializer", "live")
FAST = {"verify_seconds": 1, "verify_whole_seconds": 20, "lake_trigger_seconds": 1}
PROCESSES = (*(name for name in LIVE if name != "api"), "lake", "verifier")


@pytest.mark.longhaul
def test_gold_and_live_agree_at_barriers_while_events_flow_and_a_wrong_number_is_found(settings):
    settings = settings.replace(**FAST)
    with Platform(settings, PROCESSES, preferred_ports=False) as platform:
        settings = platform.settings
        shop = Shop(settings, 300_000, 31)
        shop.produce(1_500)
        watched = Watched(settings)
        with shop.flowing(RATE):
            watched.wait("a first round", exact=True, live=True, at_barrier=True)
            expect_exact(settings)
        # A number that is wrong in Redis alone.
        redis, bucket = (
            watched.redis,
            Keys.of(settings, current_generation(settings).name).bucket("revenue", "all", 0),
        )
        [[field, _], *_] = redis.hgetall(bucket).items()
        redis.hincrby(bucket, field, 1)
        wrong = watched.wait("the wrong number to be found", exact=False)
        assert {each["table"] for each in wrong.differences} == {"live revenue all"}
        redis.hincrby(bucket, field, -1)
        watched.wait("the right number to be found right", exact=True, live=True)
        redis.close()


@pytest.mark.longhaul
@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_gold_and_live_agree_at_barriers_while_the_demo_runs_and_after_kills(settings):
    """The very command of `dataflow up --demo`, whose dials are the demo's."""
    with Platform(settings.replace(**FAST), PROCESSES, demo=DEMO, preferred_ports=False) as platform:
        watched = Watched(platform.settings)
        first = watched.wait("a round over the demo's records", exact=True, live=True, at_barrier=True)
        wait_for(lambda: enough(watched), 240, f"{DEMO_RECORDS} records of the demo verified")
        verdict = expect_exact(platform.settings)
        assert sum(verdict.manifest.counts.values()) > max(first.records, DEMO_RECORDS)
        later = exact_after_kills(platform, KILLED)
        assert sum(later.manifest.counts.values()) > sum(verdict.manifest.counts.values())
        watched.redis.close()


def enough(watched):
    """The last round had so many of the demo's records in it, and found them exact."""
    found = watched.last()
    return found.exact and found.live and found.records > DEMO_RECORDS


@pytest.mark.longhaul
@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_gold_and_live_agree_at_barriers_after_every_process_was_killed(tmp_path):
    """Services of its own among them."""
    settings = isolated_settings(tmp_path, **FAST)
    with Platform(settings, PROCESSES, preferred_ports=False) as platform:
        settings = platform.settings
        shop = Shop(settings, 1_000_000, 32)
        shop.produce(1_500)
        watched = Watched(settings)
        with shop.flowing(RATE):
            everything = ("lake", "materializer", "live", "verifier", "valkey", "kafka", "registry")
            verdict = exact_after_kills(platform, everything)
            last = watched.wait("a round after the kills", verdict.manifest.number, exact=True, live=True)
            assert last.whole_at is not None
        watched.redis.close()

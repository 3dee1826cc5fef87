"""SIGKILL of the whole job at random moments and at a failpoint: repeats only, no hole, no disorder."""

import random
import signal

import pytest
from confluent_kafka import Producer

from infra.bootstrap import bootstrap
from infra.failpoints import Failpoints
from streams.control import request_repeat, tell_applied
from tests.helpers import wait_for
from tests.streams.live.kit import Account, LiveProcess, ShopFeed

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]

KILLED = -9


@pytest.mark.longhaul
def test_kills_while_events_flow_repeat_verdicts_and_neither_lose_nor_disorder_one(settings):
    failpoint = "live.after_store_attempt"  # it has stored what it is to repeat and has not begun to
    settings = settings.replace(live_trigger_seconds=5, dataflow_failpoint=failpoint)
    generation, chance = bootstrap(settings), random.Random(11)
    feed = ShopFeed(settings, seed=11)

    def produce_and_leave_it_in_the_middle() -> None:
        """The job has judged some of what this produced when it returns, and hardly all."""
        seen, some = account.read(), chance.randrange(100, 900)
        for _ in range(20):
            feed.produce(100)
        wait_for(lambda: account.read() >= seen + some, 180, "some verdicts")
        feed.produce(chance.randrange(1, 200))

    with LiveProcess(settings) as job, Account(settings, generation) as account:
        for _ in range(2):
            produce_and_leave_it_in_the_middle()
            job.kill()
            feed.produce(100)
            job.start()
        account.settle()
        assert account.total("gaps") == 0
        assert 0 < account.total("returns") <= 2 * len(generation.partitions())

        # now it kills itself, between what it stores of a request to repeat and the start of the query
        first, repeats = job.status(), account.total("repeats")
        producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
        request_repeat(producer, settings, generation.name, {("orders", 0): 5})
        assert job.ended() == KILLED
        assert (settings.state_dir / "failpoints" / failpoint).exists()
        job.start()
        second = job.status()
        assert second["attempt"] == first["attempt"] + 1
        assert second["query_id"] != first["query_id"]

        def all_again() -> bool:
            account.read()
            return account.total("repeats") >= repeats + everything

        # partitions that the request left out come again from their beginning
        everything = sum(map(len, account.sources.values())) - 5
        wait_for(all_again, 180, "every verdict once more")
        feed.produce(300)
        account.settle()
        assert account.total("gaps") == 0
        job.signal_all(signal.SIGINT)
        assert job.ended(20) == 0
        assert [line for line in job.log().splitlines() if " ERROR " in line or "\tat " in line] == []


@pytest.mark.longhaul
@pytest.mark.parametrize("failpoint", ["live.before_skip", "live.after_skip"])
def test_a_restart_goes_on_where_the_verdicts_are_applied_however_old_the_checkpoint(settings, failpoint):
    settings = settings.replace(dataflow_failpoint=failpoint)
    generation = bootstrap(settings)
    feed = ShopFeed(settings, seed=12)
    with LiveProcess(settings) as job, Account(settings, generation) as account:
        feed.produce(600)
        account.settle()
        assert account.total("repeats") == 0
        applied = {place: messages[-1].offset() + 1 for place, messages in account.sources.items()}
        behind = min(applied, key=applied.__getitem__)
        applied[behind] -= 1
        producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
        tell_applied(producer, settings, generation.name, applied)
        tell_applied(producer, settings, "g99", dict.fromkeys(applied, 0))
        assert producer.flush(30) == 0
        job.kill()
        feed.produce(50)
        job.launch()
        assert job.ended() == KILLED
        job.start()
        account.settle()
        assert (account.total("repeats"), account.total("gaps")) == (1, 0)
        assert job.status()["attempt"] == 2


@pytest.mark.parametrize(("set_to", "hits"), [(None, 0), ("x.other", 0), ("x.here:3", 2)])
def test_a_failpoint_that_is_not_due_does_nothing(settings, set_to, hits):
    failpoints = Failpoints(settings.replace(dataflow_failpoint=set_to))
    for _ in range(hits or 5):
        failpoints.hit("x.here")
    assert not (settings.state_dir / "failpoints").exists()


def test_a_failpoint_that_has_killed_lets_the_next_process_pass(settings):
    marker = settings.state_dir / "failpoints" / "x.here"
    marker.parent.mkdir(parents=True)
    marker.touch()
    Failpoints(settings.replace(dataflow_failpoint="x.here")).hit("x.here")

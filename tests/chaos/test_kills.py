"""Processes of a running platform die or hang at random moments, alone and two at a time, while events flow."""

import random
import signal
import threading
import time
import uuid

import httpx
import pytest

from infra.runtime.child import group_members, signal_group
from tests.chaos.kit import VICTIMS, Killer, expect_prefixes, world
from tests.helpers import wait_for
from tests.serving.api.documents import order

pytestmark = [pytest.mark.longhaul, pytest.mark.timeout(900)]

TURNS = 14
PAUSE = (0.1, 5.0)
HANG = (5.0, 20.0)


@pytest.fixture(scope="module")
def running(tmp_path_factory, seed):
    with world(tmp_path_factory.mktemp("kills"), seed) as made:
        yield made


def test_kills_at_random_moments_over_all_processes_leave_every_number_exact(running, seed):
    chance = random.Random(seed)
    killer = Killer(running.platform, chance)
    restarts = {name: running.platform.supervisor.process(name).restarts for name in VICTIMS}
    with running.watched() as reader:
        with running.shop.flowing(150):
            while killer.total < TURNS:
                time.sleep(chance.uniform(*PAUSE))  # when in its work it is hit is the random part
                alive = killer.running()
                # Those that were hit least come first, so that none is spared.
                alive.sort(key=lambda name: (killer.kills[name], chance.random()))
                victims = alive[: 2 if chance.random() < 0.3 else 1]
                print(f"kill {killer.total + 1}: {victims}")
                killer.kill(*victims)
        running.settle()
    assert killer.total >= 12
    assert set(killer.kills) == set(VICTIMS)
    for name, kills in killer.kills.items():
        assert running.platform.supervisor.process(name).restarts - restarts[name] >= kills, name
    expect_prefixes(running.settings, reader.answers, 5)


@pytest.mark.parametrize("name", VICTIMS)
def test_a_process_that_hangs_and_goes_on_leaves_every_number_exact(running, seed, name):
    hang = random.Random(f"{seed} {name}").uniform(*HANG)
    group = running.platform.supervisor.process(name).pid
    before = running.platform.supervisor.process(name).restarts
    with running.watched(), running.shop.flowing(100):
        time.sleep(1)
        signal_group(group, signal.SIGSTOP)
        try:
            print(f"{name} hangs for {hang:.1f} s")
            time.sleep(hang)  # this long it hangs
            assert group_members(group), "it ended instead of hanging"
        finally:
            signal_group(group, signal.SIGCONT)
    running.settle()
    assert running.platform.supervisor.process(name).restarts == before, "hanging was to be survived"


class Poster(threading.Thread):
    """Posts orders over REST, each until it is accepted, with the same event id at every attempt."""

    def __init__(self, url: str) -> None:
        super().__init__(name="poster")
        self.url, self.cents, self.orders, self.retries = url, 0, 0, 0
        self.failure: str | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=15, trust_env=False) as http:
            while not self._ended.is_set() and self.failure is None:
                cents = 100 + self.orders
                document = order(event_id=str(uuid.uuid4()), total_amount=f"{cents // 100}.{cents % 100:02d}")
                self.post(http, document)
                self.cents, self.orders = self.cents + cents, self.orders + 1

    def post(self, http: httpx.Client, document: dict) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                answer = http.post("/v1/events/orders", json=document)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 202:
                return
            if answer is not None and answer.status_code != 503:
                break
            self.retries += 1
            time.sleep(0.1)
        self.failure = f"not accepted: {answer and (answer.status_code, answer.text[:300])}"

    def finish(self) -> None:
        self._ended.set()
        self.join()
        assert self.failure is None, self.failure


# The last one here: its orders are not in the shop's ground truth.
def test_an_order_posted_until_it_is_accepted_counts_once_whatever_was_killed(running, seed):
    def total() -> tuple[int, int]:
        running.rest.at_ends(running.settings)
        rows = running.rest.rows("revenue", "all", None).values()
        return sum(row.get("orders", 0) for row in rows), sum(row.get("gross", 0) for row in rows)

    chance = random.Random(seed + 1)
    killer = Killer(running.platform, chance)
    before = total()
    poster = Poster(running.platform.url)
    poster.start()
    try:
        for name in ("api", "kafka", "api", "valkey", "api"):
            wait_for(lambda n=poster.orders: poster.orders > n + 20 or poster.failure, 120, "accepted orders")
            time.sleep(chance.uniform(0, 0.5))  # when in its work it is hit is the random part
            killer.kill(name)
        wait_for(lambda n=poster.orders: poster.orders > n + 20 or poster.failure, 120, "accepted orders")
    finally:
        poster.finish()
    assert killer.total == 5
    assert poster.retries > 0
    orders, gross = total()
    assert (orders - before[0], gross - before[1]) == (poster.orders, poster.cents)
    assert running.rest.get("/v1/exactness")["exact"] is True

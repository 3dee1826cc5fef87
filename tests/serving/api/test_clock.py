"""The machine's clock is set back, or jumps, under a running API: budgets, ages and what is active stay true."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator

import pytest
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from pydantic import SecretStr

from infra.settings import Settings
from serving.api.rate_limit import RateLimit
from serving.api.waiting import Waiting
from tests.helpers import wait_for
from tests.serving.api.kit import Running, State, assert_problem, serving
from tests.serving.api.test_state import put_records

HOUR = 3_600.0
MoveClock = Callable[[float], None]


@pytest.fixture
def move_clock(monkeypatch: pytest.MonkeyPatch) -> MoveClock:
    """Sets the wall clock of this process, in which the API runs, by so many seconds."""
    real = time.time
    return lambda by: monkeypatch.setattr(time, "time", lambda: real() + by)


# --- Budgets


@pytest.fixture
def limited(shop: Settings, shop_api: Running) -> Iterator[Running]:
    keys = SecretStr("dash:read-secret:read")
    with serving(shop.replace(dataflow_api_keys=keys, api_rate_limit="5/hour")) as running:
        running.wait_ready()
        yield running


@pytest.mark.parametrize("by", [-3 * HOUR, -HOUR, -1.0, HOUR, 400 * 24 * HOUR], ids=str)
def test_a_clock_that_is_moved_gives_no_second_budget(
    limited: Running, move_clock: MoveClock, by: float
) -> None:
    def ask() -> int:
        return limited.get("/v1/status", headers={"X-API-Key": "read-secret"}).status_code

    assert [ask() for _ in range(5)] == [200] * 5
    move_clock(by)
    answer = limited.get("/v1/status", headers={"X-API-Key": "read-secret"})
    assert_problem(answer, 429, "too-many-requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 2 * HOUR


def test_who_waits_as_long_as_told_is_served() -> None:
    """Wherever in a window the requests came, and whatever came before them."""
    rng, now = random.Random(5), 1_000.0
    limit = RateLimit("7/minute", clock=lambda: now)
    refused = 0
    for _ in range(2_000):
        problem = limit.problem("dash")
        if problem is not None:
            refused += 1
            now += int(problem.headers["Retry-After"]) + 0.001
            assert limit.problem("dash") is None
        now += rng.choice((0.0, 0.1, 1.0, 7.0, 200.0))
    assert refused > 300


def test_it_counts_as_the_library_does_where_the_clock_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, now = random.Random(6), 1_000_000.0
    ours = RateLimit("9/minute", clock=lambda: now)
    monkeypatch.setattr(time, "time", lambda: now)

    async def compared() -> list[tuple[bool, bool]]:
        nonlocal now
        theirs, limit, found = SlidingWindowCounterRateLimiter(MemoryStorage()), parse("9/minute"), []
        for _ in range(3_000):
            now += rng.choice((0.0, 0.3, 3.0, 9.0, 65.0))
            caller = rng.choice("ab")
            found.append((ours.problem(caller) is None, await theirs.hit(limit, caller)))
        return found

    found = asyncio.run(compared())
    assert {both for both in found if both[0] != both[1]} == set()
    assert set(found) == {(True, True), (False, False)}


def test_it_forgets_who_asks_no_more() -> None:
    now = 0.0
    limit = RateLimit("5/second", clock=lambda: now)
    for n in range(1_000):
        limit.problem(f"address {n}")
    now += 2.5
    limit.problem("dash")
    [(_, counts)] = limit._limits
    assert len(counts._now) + len(counts._before) == 1


# --- Ages


def test_what_stands_still_grows_older_though_the_clock_was_set_back(
    api: Running, state: State, move_clock: MoveClock
) -> None:
    state.apply("orders", event_time=int(time.time()) - 60)
    put_records(state.settings, "orders", 3)

    def age() -> int:
        return api.get("/v1/freshness").json()["freshness_ms"]

    wait_for(lambda: api.get("/v1/lag").json()["records_behind"] > 0, 30, "records that wait")
    assert age() >= 60_000
    move_clock(-HOUR)
    looked, began = age(), time.monotonic()
    assert 0 <= looked < 60_000  # by the wall's clock the newest one is from the future
    wait_for(lambda: time.monotonic() - began > 1.5, 10, "a while")
    assert age() - looked >= 1_500
    lag = api.get("/v1/lag").json()
    # The broker was asked a second ago, whatever the wall says.
    assert (lag["stale"], lag["log_ends_age_ms"] < 30_000) == (False, True)
    assert api.get("/readyz").status_code == 200
    position = api.get("/v1/status").json()["as_of"]["position"]
    state.apply("orders", records=3, event_time=int(time.time()))
    assert api.get("/v1/status").json()["as_of"]["position"] == position + 3


def test_only_standing_still_while_records_wait_is_waiting() -> None:
    waiting = Waiting()
    assert [waiting.seconds(*look) for look in ((5, 0, 10.0), (5, 2, 20.0), (5, 3, 27.0))] == [0.0, 0.0, 7.0]
    assert waiting.seconds(6, 2, 30.0) == 0.0  # one was counted
    assert waiting.seconds(6, 2, 31.5) == 1.5
    assert waiting.seconds(6, 0, 32.0) == 0.0
    assert waiting.seconds(6, 1, 90.0) == 0.0  # it came after an hour in which none did


# --- Active now


@pytest.mark.parametrize("by", [-400 * 24 * HOUR, -HOUR, 400 * 24 * HOUR], ids=str)
def test_what_is_active_is_by_the_newest_event_and_not_the_clock(
    api: Running, state: State, move_clock: MoveClock, by: float
) -> None:
    def active() -> tuple[list[dict], list[dict]]:
        rows = api.get("/v1/metrics/active").json()["rows"]
        return rows, api.get("/v1/metrics/revenue?grain=minute").json()["rows"]

    state.order(1_999)
    key = state.keys.active("active", "sessions")
    newest = state.redis.hget(state.keys.meta, "newest:orders")
    assert newest is not None
    state.redis.zadd(key, {"a": int(newest), "b": int(newest) - 60_000_000, "c": int(newest) - 3_600_000_000})
    state.redis.hset(state.keys.meta, "newest:clickstream", newest)
    before = active()
    assert before[0][0]["sessions"] == 2
    move_clock(by)
    assert active() == before

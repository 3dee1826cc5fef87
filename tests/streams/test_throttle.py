"""The pace of a replay: on an injected clock."""

import pytest

from streams import throttle as module
from streams.throttle import CAUGHT_UP_SECONDS, STEP_SECONDS, Throttle
from tests.helpers import isolated_settings


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(module.time, "sleep", found.sleep)
    return found


def paced(tmp_path, clock, rate=1_000, free=lambda: False) -> Throttle:
    return Throttle(isolated_settings(tmp_path, replay_records_per_second=rate), free, clock)


def test_so_many_records_a_second_however_they_are_cut(tmp_path, clock):
    throttle = paced(tmp_path, clock)
    for records in (5_000, 200, 4_800):
        throttle.took(records)
        throttle.wait(lambda: False)
    assert clock.now == pytest.approx(110.0, abs=0.3)


def test_time_that_was_lost_is_not_made_up_for_by_a_burst(tmp_path, clock):
    throttle = paced(tmp_path, clock)
    clock.now += 3_600
    throttle.took(STEP_SECONDS * 1_000)
    began = clock.now
    throttle.took(5_000)
    throttle.wait(lambda: False)
    assert clock.now - began == pytest.approx(5.0, abs=0.3)


def test_nothing_holds_up_the_live_generation_nor_one_without_a_pace(tmp_path, clock):
    for throttle in (paced(tmp_path, clock, free=lambda: True), paced(tmp_path, clock, rate=0)):
        assert not throttle.holds
        assert throttle.is_caught_up(10**9)
        throttle.took(10**9)
        throttle.wait(lambda: False)
    assert clock.now == 100.0


def test_one_that_was_live_is_held_up_by_nothing_any_more(tmp_path, clock):
    """Whoever goes back to it does not wait, however much comes in."""
    live = iter([False, True])
    throttle = paced(tmp_path, clock, free=lambda: next(live, False))
    assert [throttle.holds for _ in range(4)] == [True, False, False, False]


def test_one_that_has_caught_up_takes_in_at_once_what_comes_then(tmp_path, clock):
    throttle = paced(tmp_path, clock)
    throttle.let_go()
    assert not throttle.holds
    throttle.took(10**9)
    throttle.wait(lambda: False)
    assert clock.now == 100.0


def test_a_stop_is_heard_while_it_waits(tmp_path, clock):
    throttle = paced(tmp_path, clock)
    throttle.took(10**6)
    throttle.wait(lambda: clock.now > 101)
    assert clock.now == pytest.approx(101.0, abs=0.5)


def test_it_has_caught_up_when_the_rest_may_come_at_once(tmp_path, clock):
    throttle = paced(tmp_path, clock)
    assert throttle.step == STEP_SECONDS * 1_000
    assert throttle.is_caught_up(CAUGHT_UP_SECONDS * 1_000)
    assert not throttle.is_caught_up(CAUGHT_UP_SECONDS * 1_000 + 1)

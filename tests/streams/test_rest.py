"""Work has its share of the time and no more, until somebody waits for it; on an injected clock."""

import pytest

from streams import rest as module
from streams.rest import BESIDE, LONGEST_SECONDS, rest, rest_after
from tests.streams.test_throttle import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module.time, "sleep", found.sleep)
    return found


def test_work_has_its_share_of_the_time(clock: Clock) -> None:
    began, worked = clock.now, 0.0
    for seconds in (3.0, 0.2, 5.0, 1.0):
        clock.sleep(seconds)
        worked += seconds
        rest(rest_after(seconds, BESIDE), lambda: False, clock)
    assert worked / (clock.now - began) == pytest.approx(BESIDE, rel=0.01)


def test_a_long_piece_of_work_is_not_followed_by_a_rest_without_end() -> None:
    assert rest_after(1_000, BESIDE) == LONGEST_SECONDS
    assert rest_after(10, 0.5) == 10


def test_a_rest_ends_when_somebody_waits(clock: Clock) -> None:
    began = clock.now
    rest(40, lambda: clock.now >= began + 3, clock)
    assert clock.now - began == pytest.approx(3.0, abs=0.6)

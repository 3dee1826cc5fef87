"""The rests of jobs that come after the live numbers: a lake that follows beside the live one, and the verifiers."""

import time
from collections.abc import Callable

BESIDE, LIVE_VERIFIER = (
    0.2,
    0.5,
)  # shares of the time at work: of a generation that is not live, and of one that is
LONGEST_SECONDS = 60.0
TICK_SECONDS = 0.5


def rest_after(worked: float, share: float) -> float:
    """Seconds to rest after so many of work, so that work has that share of the time; at most 60."""
    return min(LONGEST_SECONDS, worked * (1 / share - 1))


class Rest:
    """What one job still has to rest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock()

    def begin(self, seconds: float) -> None:
        self._until = self._clock() + seconds

    def wait(self, ended: Callable[[], bool]) -> None:
        """Until it is over, or `ended` says so."""
        while not ended() and (left := self._until - self._clock()) > 0:
            time.sleep(min(left, TICK_SECONDS))

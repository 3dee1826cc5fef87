"""The rests of what comes after the live numbers, lakes and verifiers: most of a small machine is not theirs."""

import time
from collections.abc import Callable

# Shares of the time at work: of what follows beside the live generation, and of the live one's own.
BESIDE, LIVE = 0.2, 0.5
LONGEST_SECONDS = 60.0
TICK_SECONDS = 0.5


def rest_after(worked: float, share: float, longest: float = LONGEST_SECONDS) -> float:
    """Seconds to rest after so many of work, so that work has that share of the time; at most `longest`."""
    return min(longest, worked * (1 / share - 1))


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

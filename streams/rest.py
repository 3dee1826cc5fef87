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


def rest(seconds: float, ended: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
    """Wait so long, or until `ended` says that it is enough."""
    until = clock() + seconds
    while not ended() and (left := until - clock()) > 0:
        time.sleep(min(left, TICK_SECONDS))

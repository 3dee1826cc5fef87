"""The pace of a generation that is filled beside the live one: so many records a second, until it has caught up."""

import time
from collections.abc import Callable

from infra.settings import Settings

# Of records are judged at a time: a batch costs a second or two of a core, however few it has.
STEP_SECONDS = 10
CAUGHT_UP_SECONDS = 5  # of records are taken in at once by a query that follows
TICK_SECONDS = 0.2


class Throttle:
    """`free` tells that nothing holds it up any more: the generation has become the live one.

    That stays so when it is no more: whoever goes back to it shall not wait.
    """

    def __init__(
        self, settings: Settings, free: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._free, self._clock = settings.replay_records_per_second, free, clock
        self._due = clock()

    @property
    def holds(self) -> bool:
        if self._rate > 0 and self._free():
            self._rate = 0
        return self._rate > 0

    def let_go(self) -> None:
        """It has caught up: from now on it follows, however much comes at once."""
        self._rate = 0

    @property
    def step(self) -> int:
        """How many records to take at a time."""
        return self._rate * STEP_SECONDS

    def is_caught_up(self, behind: int) -> bool:
        """Whether so many records may come at once."""
        return not self.holds or behind <= self._rate * CAUGHT_UP_SECONDS

    def took(self, records: int) -> None:
        """So many records were taken. Time that was lost before is not made up for."""
        self._due = max(self._due, self._clock() - STEP_SECONDS) + (records / self._rate if self.holds else 0)

    def wait(self, given_up: Callable[[], bool]) -> None:
        """Until the next records may be taken, or `given_up` says so."""
        while self.holds and not given_up() and (left := self._due - self._clock()) > 0:
            time.sleep(min(left, TICK_SECONDS))

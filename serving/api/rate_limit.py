"""How often a key, or an address without one, may ask: counted in this process, over windows that slide.

A push stream is one request, however long it lasts. Time is the monotonic clock's: one that is set back would give a
caller a second budget at once, and take away that of the hour when it has come round again.
"""

import math
import time
from collections.abc import Callable

from limits import RateLimitItem, parse_many

from infra.settings import Settings
from serving.api.problems import Problem

AUTO, OFF = "auto", "off"
BEYOND_LOOPBACK = "1000/second"


def limit_of(settings: Settings) -> str | None:
    """The limit as text; None where there is none."""
    if settings.api_rate_limit == AUTO:
        return None if settings.api_is_loopback else BEYOND_LOOPBACK
    return None if settings.api_rate_limit == OFF else settings.api_rate_limit


class Sliding:
    """One limit. What a caller asked in the window before counts by the part of it that is not a window ago yet."""

    def __init__(self, limit: RateLimitItem) -> None:
        self._most, self._seconds = limit.amount, limit.get_expiry()
        self._number = 0  # of the window at hand
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def hit(self, caller: str, at: float) -> float | None:
        """Count one request at `at` seconds: None. One too many is not counted: the seconds until one may pass."""
        number, gone = divmod(at, self._seconds)
        if number != self._number:
            self._before = self._now if number == self._number + 1 else {}
            self._now, self._number = {}, number
        now, before, left = self._now.get(caller, 0), self._before.get(caller, 0), self._seconds - gone
        if before * left / self._seconds + now < self._most:
            self._now[caller] = now + 1
            return None
        if now < self._most:
            return left - (self._most - now) * self._seconds / before
        return left + self._seconds - self._most * self._seconds / now


class RateLimit:
    """Counts requests of each caller against `limit`, such as `100/second` or `10/second;200/minute`."""

    def __init__(self, limit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = [(each, Sliding(each)) for each in parse_many(limit)]
        self._clock = clock

    def problem(self, caller: str) -> Problem | None:
        """Count one request of `caller`; the problem if it is one too many."""
        for limit, counts in self._limits:
            if (seconds := counts.hit(caller, self._clock())) is not None:
                wait = max(1, math.ceil(seconds))
                detail = (
                    f"expected at most {limit}; try again in {wait} s, or send many events in one request"
                )
                return Problem(429, "too-many-requests", detail, {"Retry-After": str(wait)})
        return None

"""How often a key, or an address without one, may ask: counted in this process, over windows that slide.

A push stream is one request, however long it lasts.
"""

import math
import time

from limits import parse_many
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from infra.settings import Settings
from serving.api.problems import Problem

AUTO, OFF = "auto", "off"
BEYOND_LOOPBACK = "1000/second"


def limit_of(settings: Settings) -> str | None:
    """The limit as text; None where there is none."""
    if settings.api_rate_limit == AUTO:
        return None if settings.api_is_loopback else BEYOND_LOOPBACK
    return None if settings.api_rate_limit == OFF else settings.api_rate_limit


class RateLimit:
    """Counts requests of each caller against `limit`, such as `100/second` or `10/second;200/minute`."""

    def __init__(self, limit: str) -> None:
        self._limits = parse_many(limit)
        self._counter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def problem(self, caller: str) -> Problem | None:
        """Count one request of `caller`; the problem if it is one too many."""
        for limit in self._limits:
            if not await self._counter.hit(limit, caller):
                reset = (await self._counter.get_window_stats(limit, caller)).reset_time
                wait = max(1, math.ceil(reset - time.time()))
                detail = (
                    f"expected at most {limit}; try again in {wait} s, or send many events in one request"
                )
                return Problem(429, "too-many-requests", detail, {"Retry-After": str(wait)})
        return None

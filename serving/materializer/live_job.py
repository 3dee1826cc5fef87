"""Talks to the live job: tells it where the fences are, and asks it to judge again from them; and to the lake.

It asks at once at a hole and for a schema that is new to it, then with growing patience.
"""

import time
from collections.abc import Callable

from confluent_kafka import Producer

from infra.kafka import Offsets
from infra.settings import Settings
from streams.control import request_hurry, request_repeat, tell_applied

BETWEEN = 10.0  # seconds, so that many holes at once make one request
TELLING = 5.0  # seconds
FIRST_PATIENCE, LONGEST_PATIENCE = 30.0, 300.0
NEW_SCHEMA = "there are records of a schema that is new to it"


class LiveJob:
    """The live job of one generation, as the materializer talks to it. A word too many does no harm."""

    def __init__(
        self, settings: Settings, generation: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._generation, self._clock = settings, generation, clock
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all", "log_level": 2}
        )
        self._asked = self._told_at = self._hurried_at = float("-inf")
        self._told: Offsets = {}
        self._patience = FIRST_PATIENCE
        self._owed = False  # something is wanted since the last request, and was not asked for yet
        self._teaching = False
        self._wanted: Offsets = {}  # where the source topics ended when it was reminded last
        self.count = 0

    def tell(self, fences: Offsets) -> None:
        """Tell where the fences are, unless that was just done or has not changed."""
        if fences != self._told and self._clock() - self._told_at >= TELLING:
            tell_applied(self._producer, self._settings, self._generation, fences)
            self._told, self._told_at = dict(fences), self._clock()

    def hurry_lake(self) -> None:
        """The lake is waited for: let it not rest."""
        if self._clock() - self._hurried_at >= BETWEEN:
            request_hurry(self._producer, self._settings, self._generation)
            self._hurried_at = self._clock()

    def request(self, fences: Offsets, reason: str) -> None:
        """Ask now for what was not asked for before; if something was asked for just now, `remind` does it later."""
        if self._clock() - self._asked < BETWEEN:
            self._owed = True
            return
        print(f"asking the live job to judge again from the fences: {reason}", flush=True)
        request_repeat(self._producer, self._settings, self._generation, fences)
        self._asked, self._owed = self._clock(), False
        self.count += 1

    def teach(self, fences: Offsets, ends: Offsets, *, listed: bool) -> None:
        """Told once a second whether records wait for another verdict, by a schema that is `listed` now.

        Ask at once, then with patience: on a busy machine a query needs long until it has begun and come to them.
        """
        if listed and not self._teaching:
            self.request(fences, NEW_SCHEMA)
        elif listed:
            self.remind(fences, ends, NEW_SCHEMA)
        self._teaching = listed

    def remind(self, fences: Offsets, ends: Offsets, reason: str) -> None:
        """Ask again when the last request has brought nothing for a while. `ends` are those of the source topics."""
        since = self._clock() - self._asked
        if self._owed and since >= BETWEEN:
            self.request(fences, reason)
        elif since >= self._patience:
            self._patience = min(2 * self._patience, LONGEST_PATIENCE)
            self._wanted = dict(ends)
            self.request(fences, reason)

    def moving(self, fences: Offsets) -> None:
        """Nothing is stuck. Patience begins anew once all that it was reminded of has come, and no sooner.

        Each request starts the query again. On a machine so busy that it brings only a little before the next request,
        requests that did not become rarer would keep it from ever getting on.
        """
        if all(fences.get(at, 0) >= end for at, end in self._wanted.items()):
            self._patience = FIRST_PATIENCE

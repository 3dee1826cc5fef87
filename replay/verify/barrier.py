"""Have the lake end a batch at given offsets, and wait for the manifest of that batch.

Writes the control topic, reads manifests.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Producer

from infra.kafka import Offsets
from infra.settings import Settings
from serving.lake.reader import Lake
from streams.control import request_barrier, request_hurry
from streams.lake.manifest import Manifest

POLL_SECONDS = 0.2
AGAIN_SECONDS = 10.0  # a driver that has just started has not heard what was asked before
RECENT = 8  # manifests that are looked at


@dataclass(frozen=True)
class Look:
    """How far a lake is on the way to offsets: `manifest` is the one that has exactly these, else the newest.

    `beyond`: it has gone past them, so it will never be there again.
    """

    manifest: Manifest
    reached: bool
    beyond: bool


class Barrier:
    """Asks the lake of one generation for barriers."""

    def __init__(self, settings: Settings, generation: str, lake: Lake) -> None:
        self._settings, self._generation, self._lake = settings, generation, lake
        self._asked: tuple[Offsets, float] | None = None
        self._hurried_at = float("-inf")
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all", "log_level": 2}
        )

    def reach(
        self, offsets: Offsets, patience: float, given_up: Callable[[], bool] = lambda: False
    ) -> tuple[Manifest, bool]:
        """The manifest whose offsets are `offsets`, and True; else the newest, when it was beyond them or time was up.

        Raises NoLake if there is no lake, Unavailable if the broker does not answer.
        """
        end = time.monotonic() + patience
        while True:
            found = self.look(offsets)
            if found.reached or found.beyond or time.monotonic() > end or given_up():
                return found.manifest, found.reached
            self.ask(offsets)
            time.sleep(POLL_SECONDS)

    def look(self, offsets: Offsets) -> Look:
        """Where the lake is. Raises NoLake if there is none."""
        recent = self._lake.recent(RECENT)
        for manifest in recent:
            if _same(manifest.until, offsets):
                return Look(manifest, True, False)
        beyond = any(recent[0].until.get(at, 0) > offset for at, offset in offsets.items())
        return Look(recent[0], False, beyond)

    def ask(self, offsets: Offsets) -> None:
        """Have it end a batch there, unless it was asked for just that a moment ago. Raises Unavailable."""
        now = time.monotonic()
        if self._asked is None or self._asked[0] != offsets or now - self._asked[1] > AGAIN_SECONDS:
            request_barrier(self._producer, self._settings, self._generation, offsets)
            self._asked = offsets, now

    def hurry(self) -> None:
        """Have it not rest, unless it was told so a moment ago. Raises Unavailable."""
        now = time.monotonic()
        if now - self._hurried_at > AGAIN_SECONDS:
            request_hurry(self._producer, self._settings, self._generation)
            self._hurried_at = now


def _same(one: Offsets, other: Offsets) -> bool:
    return all(one.get(at, 0) == other.get(at, 0) for at in one.keys() | other.keys())

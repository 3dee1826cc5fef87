"""Have the lake end a batch at given offsets, and wait for the manifest of that batch.

Writes the control topic, reads manifests.
"""

import time

from confluent_kafka import Producer

from infra.kafka import Offsets
from infra.settings import Settings
from serving.lake.reader import Lake
from streams.control import request_barrier
from streams.lake.manifest import Manifest

POLL_SECONDS = 0.2
AGAIN_SECONDS = 10.0  # a driver that has just started has not heard what was asked before
RECENT = 8  # manifests that are looked at


class Barrier:
    """Asks the lake of one generation for barriers."""

    def __init__(self, settings: Settings, generation: str, lake: Lake) -> None:
        self._settings, self._generation, self._lake = settings, generation, lake
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all", "log_level": 2}
        )

    def reach(self, offsets: Offsets, patience: float) -> tuple[Manifest, bool]:
        """The manifest whose offsets are `offsets`, and True; else the newest, when it was beyond them or time was up.

        Raises NoLake if there is no lake, Unavailable if the broker does not answer.
        """
        end, asked = time.monotonic() + patience, float("-inf")
        while True:
            recent = self._lake.recent(RECENT)
            for manifest in recent:
                if _same(manifest.until, offsets):
                    return manifest, True
            beyond = any(recent[0].until.get(at, 0) > offset for at, offset in offsets.items())
            if beyond or time.monotonic() > end:
                return recent[0], False
            if time.monotonic() - asked > AGAIN_SECONDS:
                request_barrier(self._producer, self._settings, self._generation, offsets)
                asked = time.monotonic()
            time.sleep(POLL_SECONDS)


def _same(one: Offsets, other: Offsets) -> bool:
    return all(one.get(at, 0) == other.get(at, 0) for at in one.keys() | other.keys())

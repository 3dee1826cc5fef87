"""Of which offsets readers of the lake have been told: another generation's lake may answer once it has come there.

Offsets by the topic's id and the partition, as `serving.store.keys.place` writes them.
"""

import threading
from collections.abc import Mapping

from serving.lake.reader import Lake
from serving.read import Rebuilding
from serving.store.keys import place
from streams.lake.manifest import Manifest


class Told:
    """Asked from many threads."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def offsets(self) -> dict[str, int]:
        with self._lock:
            return dict(self._offsets)

    def remember(self, offsets: Mapping[str, int]) -> None:
        """Readers were told of these, by this process or by one before it."""
        with self._lock:
            for at, offset in offsets.items():
                self._offsets[at] = max(offset, self._offsets.get(at, 0))

    def newest(self, lake: Lake) -> Manifest:
        """The newest manifest, which readers are told of now. Raises NoLake, and Rebuilding if they know of more."""
        return self.check(lake.newest())

    def check(self, manifest: Manifest) -> Manifest:
        """Raises Rebuilding if readers know of more than the newest manifest has."""
        until = {
            place(manifest.topics[topic], p): offset
            for (topic, p), offset in manifest.until.items()
            if topic in manifest.topics
        }
        told = self.offsets
        missing = sum(max(0, told[at] - offset) for at, offset in until.items() if at in told)
        if missing:
            raise Rebuilding(
                f"the lake of {manifest.generation} has still to take in {missing:,} records that were in tables before"
            )
        self.remember(until)
        return manifest

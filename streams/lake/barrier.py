"""Barriers: offsets at which the lake was asked to end a batch, so that it can be compared with something else there.

Reads the control topic. What has been asked for is kept in memory: who asked waits for the manifest, and asks again.
"""

import logging
from collections.abc import Iterator

from infra.generation import source_bounds
from infra.generations import Generation
from infra.kafka import Offsets
from infra.settings import Settings
from streams.control import ControlReader

log = logging.getLogger(__name__)


class Barriers:
    """The barriers of one generation's lake that have not been reached."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self._settings, self._generation = settings, generation
        self._reader = ControlReader(settings, generation.name)
        self._asked: list[Offsets] = []

    def close(self) -> None:
        self._reader.close()

    def ends(self, since: Offsets, planned: Offsets, most: int) -> Iterator[Offsets]:
        """Where the batches from `since` to `planned` end: at each barrier on the way, in steps of `most` records.

        A barrier may lie behind what is planned: it is in the topics already. One that the lake has passed in some
        partition cannot be reached any more and is forgotten.
        """
        self._asked += self._reader.barriers_requested()
        if self._asked:
            written = self._ends()
            waiting, self._asked = self._asked, []
            for barrier in sorted(waiting, key=lambda each: sum(each.values())):
                if barrier.keys() != since.keys() or any(barrier[at] > written[at] for at in barrier):
                    log.warning("a barrier that is not in the topics is left alone: %s", barrier)
                elif any(barrier[at] < since[at] for at in barrier):
                    log.info("a barrier came too late: the lake is beyond it")
                elif barrier != since:
                    yield from steps(since, barrier, most)
                    since = barrier
        last = {at: max(offset, since[at]) for at, offset in planned.items()}
        if last != since:
            yield from steps(since, last, most)

    def _ends(self) -> Offsets:
        """Where the source topics end."""
        return source_bounds(self._settings, self._generation)[1]


def steps(since: Offsets, until: Offsets, most: int) -> Iterator[Offsets]:
    """Offsets on the way, of which the last is `until`, so that between two lie about `most` at most. None: no way."""
    number = -(-sum(until[at] - since[at] for at in until) // most)
    for n in range(1, number + 1):
        yield {at: since[at] + (until[at] - since[at]) * n // number for at in until}

"""Barriers: offsets at which the lake was asked to end a batch, so that it can be compared with something else there.

Also whether somebody waits for it to go on. Reads the control topic. What has been asked for is kept in memory: who
asked waits for the manifest, and asks again.
"""

import logging
from collections.abc import Iterator
from functools import lru_cache

from infra.generation import source_bounds, source_offsets_at
from infra.generations import Generation
from infra.kafka import Offsets, admin
from infra.settings import Settings
from streams.control import ControlReader
from streams.lake.cuts import Clock, covering, in_shares, in_time

LAST_MS = (
    253_402_300_799_999  # the end of the year 9999: whatever clock a broker has, its records are before it
)
FAR = 4  # batches

log = logging.getLogger(__name__)


class Barriers:
    """The barriers of one generation's lake that have not been reached."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self._settings, self._generation = settings, generation
        self._reader = ControlReader(settings, generation.name)
        self._asked: list[Offsets] = []
        self._hurried = False

    def close(self) -> None:
        self._reader.close()

    def wait(self) -> bool:
        """Whether one is waited for, or the lake itself."""
        asked, hurried = self._reader.barriers_requested()
        self._asked += asked
        self._hurried |= hurried
        return bool(self._asked) or self._hurried

    def ends(self, since: Offsets, planned: Offsets, most: int) -> Iterator[Offsets]:
        """Where the batches from `since` to `planned` end: at each barrier on the way, in steps of `most` records.

        Steps end at one time in all partitions (see `streams.lake.cuts`), for which the last may go beyond the plan.
        A barrier may lie behind what is planned: it is in the topics already. One that the lake has passed in some
        partition cannot be reached any more and is forgotten.
        """
        waited, self._hurried = self.wait(), False
        if waited and self._asked:
            written = self._ends()
            waiting, self._asked = self._asked, []
            for barrier in sorted(waiting, key=lambda each: sum(each.values())):
                if barrier.keys() != since.keys() or any(barrier[at] > written[at] for at in barrier):
                    log.warning("a barrier that is not in the topics is left alone: %s", barrier)
                elif sum(barrier.values()) - sum(since.values()) > FAR * most:
                    log.info("a barrier is far ahead yet: who waits for it asks again")
                elif any(barrier[at] < since[at] for at in barrier):
                    log.info("a barrier came too late: the lake is beyond it")
                elif barrier != since:
                    yield from self._steps(since, barrier, most)
                    since = barrier
        last = {at: max(offset, since[at]) for at, offset in planned.items()}
        if last != since:
            yield from self._steps(since, last, most, exactly=False)

    def _steps(self, since: Offsets, until: Offsets, most: int, exactly: bool = True) -> Iterator[Offsets]:
        if sum(until[at] - since[at] for at in until) <= most:
            return iter([until])
        clock = self._clock(since)
        if clock is None:
            return in_shares(since, until, most)
        return in_time(since, until if exactly else covering(until, clock, LAST_MS), most, clock, LAST_MS)

    def _ends(self) -> Offsets:
        """Where the source topics end."""
        return source_bounds(self._settings, self._generation)[1]

    def _clock(self, since: Offsets) -> Clock | None:
        """Where the partitions stood at a time. None if they no longer have what comes next."""
        client = admin(self._settings.kafka_bootstrap_servers)
        first, end = source_bounds(self._settings, self._generation, client)
        if any(offset < first[at] for at, offset in since.items()):
            return None

        @lru_cache(None)
        def clock(time_ms: int) -> Offsets:
            found = source_offsets_at(self._settings, self._generation, client, time_ms)
            return {at: end[at] if offset < 0 else min(offset, end[at]) for at, offset in found.items()}

        return clock

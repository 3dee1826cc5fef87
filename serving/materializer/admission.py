"""Which verdict is next: per source partition only the next offset, or one behind a gap that is truly empty.

A fence alone would take a hole for progress, and the records in it would be lost when they come after all. So where the
broker shows a committed record in a gap, the partition is held until the verdicts are repeated. Pure but for `probe`.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from infra.kafka import Offsets
from schemas.errors import Unavailable
from serving.store.keys import parse_place

At = tuple[str, int]
# (topic, partition, offset, end) → offset of the next committed record, None if there is none below `end`
Probe = Callable[[str, int, int, int], int | None]

# why a verdict is not to be applied, None if it is
Objection = Callable[[], str | None]

PATIENCE = 45.0  # seconds without a verdict for a record that is there, before somebody is asked
TAIL_PATIENCE, BUSY_TAIL_PATIENCE = 1.0, 5.0  # seconds before an end is looked at
BUSY_PATIENCE = 300.0  # the same while other verdicts come: this one may be among those still to be read


def no_objection() -> None:
    return None


class Admission:
    """`fences` are the offsets up to which Redis has applied everything, `next` those with the run at hand."""

    def __init__(
        self,
        fences: Offsets,
        probe: Probe,
        held: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fences, self.next = dict(fences), dict(fences)
        self.held: dict[At, str] = {parse_place(name): reason for name, reason in (held or {}).items()}
        self.released: set[At] = set()
        self.new_holes: list[At] = []
        self.holds_changed = False
        self.empty: Counter[At] = Counter()
        self._probe, self._clock = probe, clock
        self._moved: dict[At, float] = dict.fromkeys(self.fences, clock())
        self._crossed: dict[At, tuple[int, int]] = {}  # where a tail was looked at: fence, end

    def admits(self, verdict: Mapping[str, Any], objection: Objection = no_objection) -> bool:
        """Whether this verdict is to be applied now. Raises Unavailable for a partition that is not known yet.

        `objection`, asked only of one that may be next, tells why its partition has to wait for another one.
        """
        at, offset = (verdict["t"], verdict["p"]), verdict["o"]
        expected = self.next.get(at)
        if expected is None:
            raise Unavailable(f"partition {at[1]} of {at[0]} is new")
        if offset < expected:
            return False
        if offset > expected and at in self.held:
            return False
        if (why := objection()) is not None:
            if at not in self.held:
                self._hold(at, why)
            return False
        if offset > expected:
            found = self._probe(*at, expected, offset)
            if found != offset:
                self._hold(
                    at,
                    f"expected a verdict for offset {expected}, saw one for {offset}; the broker has {found}",
                )
                return False
            self.empty[at] += offset - expected
        self.next[at] = offset + 1
        self._moved[at] = self._clock()
        if at in self.held:
            del self.held[at]
            self.released.add(at)
            self.holds_changed = True
        return True

    def _hold(self, at: At, reason: str) -> None:
        self.held[at] = reason
        self.released.discard(at)
        self.new_holes.append(at)
        self.holds_changed = True

    def ranges(self) -> dict[At, tuple[int, int]]:
        """What the run at hand covers: from, until."""
        return {at: (self.fences[at], until) for at, until in self.next.items() if until != self.fences[at]}

    def settle(self) -> None:
        """The run at hand has been applied."""
        self.fences = dict(self.next)
        self.empty.clear()
        self.released.clear()
        self.holds_changed = False

    def cross_tails(self, ends: Offsets, *, idle: bool, patience: float | None = None) -> None:
        """Move over what is empty up to the committed end of a partition, where no later verdict will tell.

        A look costs the broker a fetch. While verdicts come (not `idle`) a partition mostly waits for its own, so then
        only the one that has waited longest is looked at.
        """
        now = self._clock()
        if patience is None:
            patience = TAIL_PATIENCE if idle else BUSY_TAIL_PATIENCE
        waiting = sorted(
            (self._moved[at], at)
            for at, fence in self.next.items()
            if fence < ends.get(at, 0)
            and now - self._moved[at] >= patience
            and self._crossed.get(at) != (fence, ends[at])
        )
        for _, at in waiting if idle else waiting[:1]:
            fence, end = self.next[at], ends[at]
            self._crossed[at] = (fence, end)
            found = self._probe(*at, fence, end)
            until = end if found is None else min(found, end)
            if until > fence:
                self.empty[at] += until - fence
                self.next[at] = until
                self._moved[at] = self._clock()

    def stuck(self, ends: Offsets, *, idle: bool) -> list[At]:
        """Partitions with records that no verdict has come for; `idle`: none has come for any lately."""
        found = []
        for at, fence in self.fences.items():
            if at not in self.held and fence >= ends.get(at, 0):
                self._moved[at] = self._clock()
                continue
            patience = PATIENCE if idle or at in self.held else BUSY_PATIENCE
            if self._clock() - self._moved[at] >= patience:
                found.append(at)
        return found

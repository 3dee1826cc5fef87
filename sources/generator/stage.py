"""What the parts of the shop share while it plays: chance, what was emitted, what is to happen later.

Pure: `now` comes from the caller, chance from the seed.
"""

import heapq
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sources.generator.entity import Entity
from sources.generator.randomness import Chance

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FollowUp = Callable[[datetime], None]


class Fact(NamedTuple):
    """An event of the shop's story; `late` if it happened well before it is told."""

    topic: str
    event: dict[str, Any]
    late: bool


class Agenda:
    """What is to happen later, soonest first; equal times in the order in which they were planned."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, FollowUp]] = []
        self._planned = 0

    def __len__(self) -> int:
        return len(self._heap)

    def plan(self, due: datetime, what: FollowUp) -> None:
        self._planned += 1
        heapq.heappush(self._heap, (due, self._planned, what))

    def is_due(self, now: datetime) -> bool:
        return bool(self._heap) and self._heap[0][0] <= now

    def run_next(self, now: datetime) -> None:
        """Do what is due soonest, be it due or not."""
        heapq.heappop(self._heap)[2](now)


class Stage:
    """Chance, the facts that wait to be told, and the agenda of what follows from them.

    `tempo` says how many times faster than in life orders are shipped, delivered and reviewed; `late` is the share of
    new things that happened long before they are told.
    """

    def __init__(self, chance: Chance, tempo: float, late: float) -> None:
        self.chance = chance
        self.facts: deque[Fact] = deque()
        self.agenda = Agenda()
        self._tempo = tempo
        self._late = late

    def tell(
        self, entity: Entity, op: str, now: datetime, at: datetime | None = None, **changes: Any
    ) -> None:
        """Change an entity; `at` is when it happened, if that was before now."""
        event = entity.event(self.chance, op, now, at, **changes)
        self.facts.append(Fact(entity.topic, event, at is not None and at < now))

    def happened(self, now: datetime) -> datetime:
        """When something new happened: now, or, for the share that is late, an hour to five days ago."""
        return now - self.lateness() if self._late and self.chance.happens(self._late) else now

    def is_late(self) -> bool:
        return bool(self._late) and self.chance.happens(self._late)

    def lateness(self) -> timedelta:
        """Mostly hours, sometimes days."""
        return self.chance.between(HOUR, 10 * HOUR if self.chance.happens(0.6) else 5 * DAY)

    def after(self, now: datetime, low: timedelta, high: timedelta, what: FollowUp) -> None:
        """Plan something of the shop's daily work, in its tempo."""
        self.agenda.plan(now + self.chance.between(low, high) / self._tempo, what)

    def soon(self, now: datetime, low: timedelta, high: timedelta, what: FollowUp) -> None:
        """Plan something that takes as long as it takes, whatever the tempo."""
        self.agenda.plan(now + self.chance.between(low, high), what)

"""What the fold remembers of an entity and of a key's facts, and its form in Redis."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

Place = tuple[str, bytes]  # key and field in Redis
SUMMARY = b""  # the field of a key's facts that holds what they add up to


@dataclass(slots=True)
class Latest:
    """An entity's row of the highest version: `values` are the plan's columns."""

    version: int
    content: int  # hash of the row, tells a repeat from a conflict
    event_id: str
    deleted: bool
    values: list[Any]

    def pack(self) -> bytes:
        return orjson.dumps([self.version, self.content, self.event_id, int(self.deleted), *self.values])

    @classmethod
    def unpack(cls, data: bytes) -> "Latest":
        version, content, event_id, deleted, *values = orjson.loads(data)
        return cls(version, content, event_id, bool(deleted), values)


@dataclass(slots=True)
class Facts:
    """What the facts of one key add up to: per funnel, the time (µs) of the first event of each stage."""

    firsts: dict[str, dict[str, int]] = field(default_factory=dict)

    def pack(self) -> bytes:
        return orjson.dumps(self.firsts)

    @classmethod
    def unpack(cls, data: bytes) -> "Facts":
        return cls(orjson.loads(data))


class Known:
    """Entities and facts that Redis is known to hold or to lack (None), by (key, field); the newest ones are kept.

    A key without a summary has no facts. Of a key seen so, whatever it gets is known: nothing of it is missing.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self.limit = limit
        self.found: dict[Place, Any] = {}
        self._whole: set[str] = set()

    def missing(self, places: Iterable[Place]) -> list[Place]:
        """Which of `places` have to be looked up."""
        found, whole = self.found, self._whole
        return [where for where in set(places) if where not in found and where[0] not in whole]

    def learn(self, where: Place, value: bytes | None) -> None:
        """What Redis holds at a place: an entity, what a key's facts add up to, or that a fact has been counted."""
        key, field = where
        if value is None:
            self.found[where] = None
            if field == SUMMARY:
                self._whole.add(key)
        elif field == SUMMARY:
            self.found[where] = Facts.unpack(value)
        else:
            self.found[where] = Latest.unpack(value) if value else True

    def update(self, places: Mapping[Place, Any]) -> None:
        """Redis holds these now. The oldest are forgotten."""
        self.found.update(places)
        excess = len(self.found) - self.limit
        if excess > 0:
            for where in list(islice(self.found, excess + self.limit // 10)):
                del self.found[where]
                self._whole.discard(where[0])

"""What the fold remembers of an entity and of a key's facts, and its form in Redis."""

from dataclasses import dataclass, field
from typing import Any

import orjson


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


@dataclass(slots=True)
class Known:
    """Entities and facts that Redis is known to hold or to lack (None), by (key, field); the newest ones are kept."""

    limit: int = 200_000
    found: dict[tuple[str, bytes], Any] = field(default_factory=dict)

    def forget_oldest(self) -> None:
        excess = len(self.found) - self.limit
        if excess > 0:
            for place in [
                place for place, _ in zip(self.found, range(excess + self.limit // 10), strict=False)
            ]:
                del self.found[place]

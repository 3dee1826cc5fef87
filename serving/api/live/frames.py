"""Server-sent events as bytes, and the ids by which a client resumes. Pure."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

RETRY = b"retry: 1000\n\n"  # where nothing else was said
HEARTBEAT = b": heartbeat\n\n"
EVENT_ID = re.compile(r"(g[0-9]{1,9})-([0-9]{1,18})-([0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True)
class EventId:
    """Which state a snapshot shows: `<generation>-<position>-<world>`.

    Positions of one generation only grow; `world` says which topics they count (see `world_of`), since after a reset
    another generation has the same name.
    """

    generation: str
    position: int
    world: str

    def __str__(self) -> str:
        return f"{self.generation}-{self.position}-{self.world}"

    def is_before(self, other: "EventId") -> bool:
        """Whether it is an older one of the same states."""
        return self.position < other.position and replace(self, position=other.position) == other


def world_of(topic_ids: Iterable[str]) -> str:
    """A mark of the topics that positions count: topics that are created anew have another one."""
    return hashlib.blake2b(" ".join(sorted(topic_ids)).encode(), digest_size=4).hexdigest()


def parse_event_id(text: str | None) -> EventId | None:
    """The id that a client saw last; None where it brings none, or none of ours."""
    found = EVENT_ID.fullmatch(text or "")
    return EventId(found[1], int(found[2]), found[3]) if found else None


def retry(ms: int) -> bytes:
    """How long a client is to wait before it comes again."""
    return b"retry: %d\n\n" % ms


def frame(event: str, data: Any, event_id: EventId | None = None) -> bytes:
    """One event. Its data is one line, as orjson writes it."""
    head = f"id: {event_id}\nevent: {event}\ndata: " if event_id else f"event: {event}\ndata: "
    return head.encode() + orjson.dumps(data) + b"\n\n"

"""The newest snapshot and the newest state, for one writer and any number of readers who wait for the next change.

There are no queues: a reader that is slow finds only what is newest. Numbers tell which came later.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from serving.api.live.frames import EventId, frame


@dataclass(frozen=True)
class Snapshot:
    """All live numbers, as a frame."""

    number: int
    event_id: EventId
    frame: bytes


@dataclass(frozen=True)
class State:
    """Whether the numbers are live, as a frame. `key`: what decides whether another one says anything new."""

    number: int
    name: str
    key: Any
    frame: bytes


class Board:
    """What the hub has found last."""

    def __init__(self) -> None:
        self.closed = False
        self._changed: asyncio.Future | None = None
        self.clear()

    def clear(self) -> None:
        """Forget everything; only while nobody reads."""
        self.snapshot: Snapshot | None = None
        self.state: State | None = None
        self._number = 0

    def close(self) -> None:
        """Nothing comes any more."""
        self.closed = True
        self._publish()

    def forget_snapshot(self) -> None:
        """The next one is shown anew, also if it is the same."""
        self.snapshot = None

    def shows(self, event_id: EventId) -> bool:
        """Whether the snapshot is the one with this id."""
        return self.snapshot is not None and self.snapshot.event_id == event_id

    def show_snapshot(self, event_id: EventId, data: dict[str, Any]) -> None:
        self.snapshot = Snapshot(self._next_number(), event_id, frame("snapshot", data, event_id))
        self._publish()

    def is_state(self, name: str) -> bool:
        return self.state is not None and self.state.name == name

    def show_state(self, name: str, key: Any, data: dict[str, Any]) -> None:
        """Show a state unless it is the one that is shown."""
        if self.state is not None and self.state.key == key:
            return
        self.state = State(self._next_number(), name, key, frame("state", data))
        self._publish()

    def state_is_told(self, key: Any) -> None:
        """A snapshot says what a state with this key would say, so that none is needed."""
        self.state = replace(self.state, key=key)

    def next_change(self) -> asyncio.Future:
        """Done as soon as something else is shown, or nothing comes any more."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _publish(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

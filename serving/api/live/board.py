"""The newest snapshot and the newest state, for one writer and any number of readers who wait for the next change.

There are no queues: a reader that is slow finds only what is newest. Numbers tell which came later. Readers are woken
some at a time, so that thousands of them do not hold up everything else in the process.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from serving.api.live.frames import EventId, frame

AT_ONCE = 64  # readers; some 1 ms of sending


@dataclass(frozen=True)
class Snapshot:
    """All live numbers, as a frame."""

    number: int
    event_id: EventId
    frame: bytes


@dataclass(frozen=True)
class State:
    """Whether the numbers are live, as a frame. `key`: what decides whether another one says anything new.

    `is_old`: a newer snapshot says it, and the frame is of numbers before that.
    """

    number: int
    name: str
    key: Any
    frame: bytes
    is_old: bool = False


@dataclass(frozen=True)
class Note:
    """What goes beside the numbers, as a frame. `key`: what decides whether another one says anything new."""

    number: int
    key: Any
    frame: bytes


class Reader(Protocol):
    """Whoever waits."""

    def wake(self) -> None: ...


class Board:
    """What the hub has found last. `number` is that of the newest of all that is shown."""

    def __init__(self) -> None:
        self.closed = False
        # Dictionaries for their order, and because thousands may go at once.
        self._waiting: dict[Reader, None] = {}
        self._woken: dict[Reader, None] = {}
        self._waking = self._held = self._changed = False
        self.clear()

    def clear(self) -> None:
        """Forget everything; only while nobody reads."""
        self.snapshot: Snapshot | None = None
        self.state: State | None = None
        self.notes: dict[str, Note] = {}
        self.number = 0

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

    def says(self, event: str, key: Any) -> bool:
        """Whether the note of an event is the one with this key."""
        return event in self.notes and self.notes[event].key == key

    def show_note(self, event: str, key: Any, data: dict[str, Any]) -> None:
        self.notes[event] = Note(self._next_number(), key, frame(event, data))
        self._publish()

    def state_is_told(self, key: Any) -> None:
        """A snapshot says what a state with this key would say, so that none is needed."""
        self.state = replace(self.state, key=key, is_old=True)

    def wake_at_change(self, reader: Reader) -> None:
        """Wake it as soon as something else is shown, or nothing comes any more."""
        self._waiting[reader] = None

    def forget(self, reader: Reader) -> None:
        """It has gone."""
        self._waiting.pop(reader, None)
        self._woken.pop(reader, None)

    def _next_number(self) -> int:
        self.number += 1
        return self.number

    @contextmanager
    def in_one(self) -> Iterator[None]:
        """Whoever waits is woken once for all that is shown in the block, at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._changed:
                self._publish()

    def _publish(self) -> None:
        self._changed = self._held
        if self._held:
            return
        self._woken |= self._waiting
        self._waiting.clear()
        if self._woken and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _wake_some(self) -> None:
        for _ in range(min(AT_ONCE, len(self._woken))):
            reader, _ = self._woken.popitem()
            reader.wake()
        if self._woken:
            asyncio.get_running_loop().call_soon(self._wake_some)
        else:
            self._waking = False

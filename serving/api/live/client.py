"""What one push client is sent: the newest state, snapshot and notes, each once, no snapshot older than what it saw.

It has no queue: whoever is too slow for a frame is sent the next one that is the newest when there is room again.
"""

import asyncio
import time

from serving.api.live.board import Board
from serving.api.live.frames import HEARTBEAT, RETRY, EventId, frame

HEARTBEAT_SECONDS = 10.0

REBUILDING = frame("state", {"state": "rebuilding", "detail": "others have shown more", "as_of": None})


class Client:
    """Reads the board for a client that has seen `last`."""

    def __init__(self, board: Board, last: EventId | None) -> None:
        self._board, self._last = board, last
        self._number = self._state = self._snapshot = -1
        self._notes: dict[str, int] = {}
        self._told = self._gone = False
        self._last_words: bytes | None = None
        self._sent_at = time.monotonic()
        self._woken: asyncio.Future[None] | None = None

    async def next(self) -> bytes | None:
        """What is to be sent next, as soon as there is something; None when nothing comes any more."""
        if self._number == -1:
            self._number = 0
            return RETRY
        while not (self._board.closed or self._gone):
            if found := self.due():
                self._sent_at = time.monotonic()
                return found
            if self.is_silent(time.monotonic()):
                self._sent_at = time.monotonic()
                return HEARTBEAT
            self._woken = asyncio.get_running_loop().create_future()
            self._board.wake_at_change(self)
            await self._woken
        words, self._last_words = self._last_words, None
        return words

    def due(self) -> bytes:
        """What is on the board and has not been sent; nothing if that is all."""
        board = self._board
        if board.number == self._number:
            return b""
        self._number = board.number
        state, snapshot, last = board.state, board.snapshot, self._last
        # Each with its number: what was found later is sent later.
        found: list[tuple[int, bytes]] = []
        # Another process showed more than this one has: nobody is sent back in time, nor told that that were live.
        held_back = last is not None and snapshot is not None and snapshot.event_id.is_before(last)
        if state is not None and state.number != self._state:
            self._state = state.number
            if not (state.name == "live" and (held_back or state.is_old)):
                found.append((state.number, state.frame))
                self._told = False
        if snapshot is not None and snapshot.number != self._snapshot:
            self._snapshot = snapshot.number
            if held_back:
                if not self._told:
                    found.append((snapshot.number, REBUILDING))
                self._told = True
            else:
                if snapshot.event_id != last or (state is not None and state.is_old):
                    found.append((snapshot.number, snapshot.frame))
                elif self._told and state is not None:
                    found.append((snapshot.number, state.frame))
                self._last = None
        for event, note in board.notes.items():
            if self._notes.get(event) != note.number:
                self._notes[event] = note.number
                found.append((note.number, note.frame))
        # Mostly it is one, whose bytes all clients share.
        return found[0][1] if len(found) == 1 else b"".join(each for _, each in sorted(found))

    def is_silent(self, now: float) -> bool:
        """Whether nothing was sent for so long that the client, or what is between, may think that nobody is there."""
        return now - self._sent_at >= HEARTBEAT_SECONDS

    def wake(self) -> None:
        """Look at the board again."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def end(self, words: bytes) -> None:
        """Nothing comes any more but `words`."""
        self._last_words = words
        self.leave()

    def leave(self) -> None:
        """Nobody listens any more."""
        self._gone = True
        self.wake()

"""What one push client is sent: the newest state and snapshot, each once, and no snapshot older than what it saw."""

import asyncio
from collections.abc import AsyncIterator

from serving.api.live.board import Board
from serving.api.live.frames import HEARTBEAT, RETRY, EventId, frame

HEARTBEAT_SECONDS = 10.0

REBUILDING = frame("state", {"state": "rebuilding", "detail": "others have shown more", "as_of": None})


async def frames_for(board: Board, last: EventId | None) -> AsyncIterator[bytes]:
    """The frames for a client that has seen `last`, until the board is closed."""
    yield RETRY
    seen_state = seen_snapshot = -1
    told = False
    while not board.closed:
        changed = board.next_change()
        state, snapshot = board.state, board.snapshot
        # Each with its number: what was found later is sent later.
        found: list[tuple[int, bytes]] = []
        if state is not None and state.number != seen_state:
            seen_state = state.number
            found.append((seen_state, state.frame))
        if snapshot is not None and snapshot.number != seen_snapshot:
            seen_snapshot = snapshot.number
            if last is not None and _is_older(snapshot.event_id, last):
                # Another process showed more than this one has: nobody is sent back in time.
                if not told:
                    found.append((seen_snapshot, REBUILDING))
                told = True
            else:
                if snapshot.event_id != last:
                    found.append((seen_snapshot, snapshot.frame))
                elif told and state is not None:
                    found.append((seen_snapshot, state.frame))
                last = None
        if found:
            yield b"".join(each for _, each in sorted(found))
            continue
        await asyncio.wait((changed,), timeout=HEARTBEAT_SECONDS)
        if not changed.done():
            yield HEARTBEAT


def _is_older(event_id: EventId, last: EventId) -> bool:
    return event_id.generation == last.generation and event_id.position < last.position

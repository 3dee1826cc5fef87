"""What is pushed beside the numbers: the records counted last, how many dead letters there are, what was verified.

Seldom enough to cost next to nothing. A note is absolute as a snapshot is, but has no id: who resumes gets the newest.
Reads Redis and what the dead letters' follower has seen.
"""

import logging
import time

from schemas.contract import CONTRACTS
from schemas.errors import DataflowError
from serving.api.documents import event_documents
from serving.api.live.board import Board
from serving.api.live.source import Source, is_cancelled
from serving.verified import brief as verified_document

PAUSE = 0.5  # seconds between two looks
EVENTS = 15

log = logging.getLogger("dataflow.api")


class Notes:
    """Looks for what is new, and shows it on the board."""

    def __init__(self, source: Source, board: Board) -> None:
        self._source, self._board = source, board
        self._looked = float("-inf")

    async def look(self) -> None:
        """Once, unless that was just done. What cannot be read now is looked at next time; the state says why."""
        if self._board.notes and time.monotonic() - self._looked < PAUSE:
            return
        self._looked = time.monotonic()
        as_of, found, verified, generation = None, None, None, None
        try:
            as_of, found = await self._source.read_newest(CONTRACTS, EVENTS)
            generation = self._source.reader.generation
            verified = await self._source.verified(generation)
        except DataflowError:
            pass
        except Exception:
            # The numbers go on without it.
            log.exception("what goes beside the numbers cannot be read")
        if is_cancelled():
            # Of a generation that is no longer the live one, perhaps.
            return
        moment = as_of and as_of.as_json()
        if found is not None and not self._board.says("events", found):
            self._board.show_note("events", found, {"events": event_documents(found), "as_of": moment})
        letters = self._source.follower.view
        if letters is not None and not self._board.says("dead_letters", letters):
            self._board.show_note("dead_letters", letters, {**letters.as_json(), "as_of": moment})
        if verified is not None and not self._board.says("verified", (generation, verified)):
            told = {"generation": generation, "verified": verified_document(verified, time.time())}
            self._board.show_note("verified", (generation, verified), told)

"""Blocking work on the dead letters beside the event loop: in threads, a few at a time, each within its time.

Reads what `read_letters` reads.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from infra.settings import Settings
from schemas.errors import GenerationError, Unavailable
from serving.api.problems import RETRY_SOON, Problem
from serving.api.threads import in_thread
from serving.dead_letters import At, DeadLetter, LetterTopics, read_letters

SECONDS = 20.0
REDRIVE_SECONDS = 120.0
AT_MOST = 4
# The interpreter lets only one thread run: a scan that never stood still would cost every push up to 5 ms.
PAUSE_EVERY, PAUSE = 100, 0.001  # letters, s

Found = TypeVar("Found")


class TooSlow(Problem):
    """The letters could not be read to their end in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            503,
            "too-slow",
            f"the dead letters could not be read to their end within {seconds:g} s. Try again, or use `dataflow dlq`, "
            "which has no such limit",
            {"Retry-After": "10"},
        )


class Limit:
    """Until when one question may go on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def check(self) -> None:
        """Raises TooSlow when the time is over."""
        if self._stopped or time.monotonic() > self._end:
            raise TooSlow(self.seconds)

    def read(
        self,
        settings: Settings,
        topics: LetterTopics,
        where: Sequence[At] | None = None,
        *,
        keep_bytes: bool = False,
    ) -> Iterator[DeadLetter]:
        """`read_letters` that raises TooSlow when the time is over."""
        for n, letter in enumerate(read_letters(settings, topics, where, keep_bytes=keep_bytes)):
            if n % PAUSE_EVERY == 0:
                self.check()
                time.sleep(PAUSE)
            yield letter


class Scans:
    """Runs work that reads dead letters. `seconds` and `redrive_seconds` bound it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seconds, self.redrive_seconds = SECONDS, REDRIVE_SECONDS
        self._running: set[Limit] = set()
        self._redrive: Limit | None = None

    async def read(self, work: Callable[[Limit], Found]) -> Found:
        """What `work` returns, which keeps within what it is given. Raises Problem, Unavailable."""
        if len(self._running) >= AT_MOST:
            detail = f"{AT_MOST} questions to the dead letters are being answered, and no more at once"
            raise Problem(503, "too-many-clients", detail, RETRY_SOON)
        limit = Limit(self.seconds)
        self._running.add(limit)
        try:
            # A broker that has fallen silent keeps the thread longer than whoever asked should wait.
            return await asyncio.wait_for(
                in_thread(lambda: _read(work, limit), lambda: self._running.discard(limit), "dead-letters"),
                limit.seconds + 1,
            )
        except TimeoutError:
            raise TooSlow(limit.seconds) from None
        finally:
            limit.stop()

    async def redrive(self, work: Callable[[Limit], Found]) -> Found:
        """The same for a re-drive, of which one may run. Raises Problem, Unavailable."""
        if self._redrive is not None:
            detail = (
                "expected one re-drive at a time; wait for the end of the one that runs, or of its dry run"
            )
            raise Problem(409, "redrive-running", detail, {"Retry-After": "5"})
        self._redrive = limit = Limit(self.redrive_seconds)
        return await in_thread(lambda: _read(work, limit), self._redrive_ended, "dead-letters")

    def _redrive_ended(self) -> None:
        self._redrive = None

    def stop(self) -> None:
        """End all of it at the next letters."""
        for limit in (*self._running, *filter(None, (self._redrive,))):
            limit.stop()


def _read(work: Callable[[Limit], Found], limit: Limit) -> Found:
    try:
        return work(limit)
    except GenerationError as error:
        raise Unavailable(str(error)) from error

"""Questions to the lake beside the event loop: a few at a time, each within its time, its memory and its disk.

Reads the lake of the live generation through DuckDB, which is told to stop when the time is over.
"""

import asyncio
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import duckdb

from infra.settings import Settings
from serving.api.lake.told import Told
from serving.api.problems import RETRY_SOON, Problem
from serving.api.threads import in_thread
from serving.lake.facts import FactBook
from serving.lake.reader import Gone, Lake, NoSuchManifest
from serving.lake.trouble import Trouble, said, trouble
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root

SECONDS = 10.0
GRACE = 1.0  # seconds from the call to stop until nobody waits any more
AGAIN = (
    0.1  # seconds after which it is called again: a statement that begins after the first does not hear it
)
AT_MOST = 2
LOOKS_AT_MOST = 2  # at the manifests, beside them: how far the lake is does not wait for slow questions
FRESH = 0.5  # seconds for which a look at the manifests serves everybody who asks
MEMORY, DISK = "512MB", "4GB"
LATER = {"Retry-After": "10"}

log = logging.getLogger("dataflow.api")

Found = TypeVar("Found")


class Budget:
    """What one question may use."""

    def __init__(self, seconds: float, scratch: Path) -> None:
        self.seconds, self._scratch = seconds, scratch
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._stopped = False

    def may_go_on(self) -> bool:
        return not self._stopped and time.monotonic() < self._end

    def limited(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """The connection, with bounds on what it takes; it can be stopped from now on."""
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute(f"SET max_temp_directory_size = '{DISK}'")
        connection.execute(f"SET temp_directory = '{str(self._scratch).replace(chr(39), chr(39) * 2)}'")
        # The live path goes first, and another question may run beside this one.
        connection.execute("SET threads = 1")
        with self._lock:
            self._connection = connection
        return connection

    def stop(self) -> None:
        self._stopped = True
        with self._lock:
            # One that has just been closed does not want to be interrupted.
            if self._connection is not None:
                with suppress(duckdb.Error):
                    self._connection.interrupt()


class LakeWork:
    """Runs questions to the lake; one per process. `seconds` bounds each."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seconds = SECONDS
        self._running: set[Budget] = set()
        self._looking: set[Budget] = set()
        self._reapers: set[asyncio.Task] = set()
        self.told = Told()
        self._book: tuple[str, FactBook] | None = None
        self._look: tuple[tuple[str, int], float, asyncio.Task[list[Manifest]]] | None = None

    def lake(self, generation: str) -> Lake:
        return Lake(lake_root(self.settings, generation))

    def book(self, generation: str) -> FactBook:
        """The facts known of a generation's tables."""
        if self._book is None or self._book[0] != generation:
            self._book = (generation, FactBook(self.lake(generation)))
        return self._book[1]

    async def recent(self, generation: str, limit: int) -> list[Manifest]:
        """The last manifests, newest first. Every open page asks for them; one look at the log serves them all."""
        asked, now = (generation, limit), time.monotonic()
        if self._look is None or self._look[0] != asked or now - self._look[1] > FRESH:
            look = self._run(lambda _: self.lake(generation).recent(limit), self._looking, LOOKS_AT_MOST)
            task = asyncio.create_task(look)
            self._look = asked, now, task
        # Who goes away does not take the look from the others.
        return await asyncio.shield(self._look[2])

    async def run(self, work: Callable[[Budget], Found]) -> Found:
        """What `work` returns, which keeps within what it is given. Raises Problem, Unavailable."""
        return await self._run(work, self._running, AT_MOST)

    async def _run(self, work: Callable[[Budget], Found], running: set[Budget], at_most: int) -> Found:
        if len(running) >= at_most:
            detail = f"{at_most} questions to the lake are being answered, and no more at once"
            raise Problem(503, "too-many-clients", detail, RETRY_SOON)
        try:
            scratch = tempfile.TemporaryDirectory(prefix="dataflow-lake-", ignore_cleanup_errors=True)
        except OSError as error:
            raise no_disk(error) from error
        budget = Budget(self.seconds, Path(scratch.name))
        running.add(budget)

        def answer() -> Found:
            with scratch:
                return _as_problems(work, budget)

        future = in_thread(answer, lambda: running.discard(budget), "lake")
        try:
            done, _ = await asyncio.wait({future}, timeout=self.seconds)
            if not done:
                budget.stop()
                done, _ = await asyncio.wait({future}, timeout=GRACE)
            if not done:
                raise too_slow(self.seconds)
            return future.result()
        finally:
            if not future.done():
                reaper = asyncio.create_task(_reap(future, budget))
                self._reapers.add(reaper)
                reaper.add_done_callback(self._reapers.discard)

    def stop(self) -> None:
        for budget in (*self._running, *self._looking):
            budget.stop()


async def _reap(future: asyncio.Future, budget: Budget) -> None:
    """Call what nobody waits for any more to stop, until it does."""
    while not future.done():
        budget.stop()
        await asyncio.wait({future}, timeout=AGAIN)
    future.exception()  # seen, so that asyncio does not report it


def _as_problems(work: Callable[[Budget], Found], budget: Budget) -> Found:
    try:
        return work(budget)
    except NoSuchManifest as error:
        raise Problem(404, "unknown-manifest", str(error)) from error
    except Gone as error:
        raise Problem(410, "gone", str(error)) from error
    except duckdb.InterruptException as error:
        raise too_slow(budget.seconds) from error
    except duckdb.Error as error:
        match trouble(error):
            case Trouble.MEMORY:
                detail = f"the answer takes more than {MEMORY} of memory and {DISK} of disk. {_NARROWER}"
                raise Problem(503, "too-costly", detail) from error
            case Trouble.DISK:
                raise no_disk(error) from error
        raise
    except OSError as error:
        raise no_disk(error) from error


_NARROWER = (
    "Ask for fewer columns or less of the table, or read the lake with an engine of your own: docs/lake.md"
)


def no_disk(error: Exception) -> Problem:
    log.error("the lake is not read: %s", said(error))
    # Without the text, which names places of this machine: this is told to whoever asks over REST.
    detail = (
        "expected to read the lake's files, and to have room for what does not fit into memory, and a file could not "
        "be read or written: see whether the disk is full, and the log of the API"
    )
    return Problem(503, "unavailable", detail, LATER)


def too_slow(seconds: float) -> Problem:
    detail = f"the lake could not answer within {seconds:g} s. {_NARROWER}"
    return Problem(503, "too-slow", detail, LATER)

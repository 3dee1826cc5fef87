"""What the API knows of the generations, and `dataflow replay …`, by which it changes them.

The API runs by the copy of the code that its generation was made by; what is planned and run is the code that was
edited since. So a command is another process, one at a time; what plans, runs and compares goes by the tree that the
platform was started from.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import orjson

from infra.entry import EXIT_TRANSIENT
from infra.generations import read_generations
from infra.settings import Settings
from serving.api.problems import RETRY_SOON, Problem
from serving.api.replays.generations import generations_document
from serving.api.threads import in_thread
from serving.generation_progress import Paces

FRESH = 1.0  # seconds
READ_SECONDS = 60.0
CHANGE_SECONDS = 600.0
NOT_RUNNING, USAGE = 3, 2  # exit statuses of `dataflow`, and that of what may be tried again (`infra.entry`)
READING = ("plan", "diff")
BY_THE_TREE = ("plan", "run", "diff")
MOST_BYTES = 16 * 1024 * 1024


class Replays:
    """Runs one command at a time that changes something; beside it one that plans, and one that compares."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._paces = settings, Paces()
        self._changing, self._comparing, self._reading = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._look: tuple[float, asyncio.Future[dict[str, Any]]] | None = None

    async def status(self) -> dict[str, Any]:
        """All generations, as they were at most FRESH seconds ago. Every open page asks for them."""
        now = time.monotonic()
        # One that takes longer is waited for: with a broker that is away each would keep a thread.
        if self._look is None or (now - self._look[0] > FRESH and self._look[1].done()):
            found = in_thread(
                lambda: generations_document(self._settings, self._paces), lambda: None, "replays"
            )
            self._look = now, found
        # Who goes away does not take the look from the others.
        return await asyncio.shield(self._look[1])

    async def live(self) -> str | None:
        """Which generation is the live one now. Raises Unavailable."""
        number = await in_thread(lambda: read_generations(self._settings).live, lambda: None, "replays")
        return None if number is None else f"g{number}"

    async def read(self, *arguments: str) -> Any:
        """What a command tells; who asks meanwhile waits. Raises Problem."""
        try:
            await asyncio.wait_for(self._reading.acquire(), READ_SECONDS)
        except TimeoutError:
            detail = f"others ask for the same, and it was not their turn to end within {READ_SECONDS:g} s"
            raise Problem(503, "too-slow", detail, RETRY_SOON) from None
        try:
            return await self._call(arguments, READ_SECONDS)
        finally:
            self._reading.release()

    async def change(self, *arguments: str, seconds: float = CHANGE_SECONDS) -> Any:
        """The same of a command that changes something. Raises Problem, also while another one runs."""
        try:
            return await self._alone(self._changing, "change", arguments, seconds)
        finally:
            self._look = None  # which may have begun before: who was answered looks next at what has changed

    async def compare(self, one: str, other: str) -> Any:
        """The difference of two generations. Nobody who wants to go back waits for it. Raises Problem."""
        return await self._alone(self._comparing, "difference", ("diff", one, other), CHANGE_SECONDS)

    async def _alone(self, lock: asyncio.Lock, what: str, arguments: Sequence[str], seconds: float) -> Any:
        if lock.locked():
            detail = f"expected one {what} at a time, and one is being made: wait until it is done"
            raise Problem(409, "replay-busy", detail, RETRY_SOON)
        async with lock:
            return await self._call(arguments, seconds)

    async def _call(self, arguments: Sequence[str], seconds: float) -> Any:
        command = [sys.executable, "-m", "dataflow", "replay", *arguments, "--json"]
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self._environment(arguments[0]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MOST_BYTES,
        )
        try:
            out, told = await asyncio.wait_for(process.communicate(), seconds)
        except TimeoutError:
            detail = f"it was not done within {seconds:g} s, and was given up: `dataflow replay status` tells what is"
            # What changes something may have been done all the same.
            raise Problem(503, "too-slow", detail, RETRY_SOON if arguments[0] in READING else None) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return self._answer(arguments[0], process.returncode, out, told)

    def _answer(self, act: str, status: int, out: bytes, told: bytes) -> Any:
        # Of a diff 1 is an answer too: the two differ. A plan says first what it would do, and then why it cannot.
        if (status == 0 or (status == 1 and act == "diff")) and out.strip():
            return orjson.loads(out)
        detail = told.decode("utf-8", "replace").strip()
        detail = detail[detail.rfind("Error: ") :].removeprefix("Error: ") or "the command says nothing"
        if status in (NOT_RUNNING, EXIT_TRANSIENT):
            if status == EXIT_TRANSIENT and act not in READING:
                # It may have been done all the same: whoever asks again at once may undo it.
                raise Problem(
                    503, "unavailable", f"{detail}. `dataflow replay status` tells whether it was done"
                )
            raise Problem(503, "unavailable", detail, RETRY_SOON)
        if status == USAGE:
            raise Problem(400, "bad-query", detail)
        raise Problem(409, "replay-refused", detail)

    def _environment(self, act: str) -> dict[str, str]:
        """That of this process, whose settings name every address, but bound to no generation.

        What looks at the code that was edited goes by the tree. All else goes by the code of this process: nobody who
        wants to go back has to have a tree that can be read.
        """
        settings = self._settings.replace(dataflow_generation=None, dataflow_status_file=None)
        if settings.dataflow_tree is None or act not in BY_THE_TREE:
            return {**os.environ, **settings.environ()}
        contracts, decided = (
            settings.dataflow_tree_contracts,
            orjson.loads(settings.dataflow_tree_settings or b"{}"),
        )
        settings = settings.replace(dataflow_contracts=contracts, **decided)
        return {**os.environ, **settings.environ(), "PYTHONPATH": str(settings.dataflow_tree)}

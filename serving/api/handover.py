"""Whose turn it is to answer: one process of the API at a time, the one of the live generation.

Every process has the listening socket (API_SOCKET), and uses it only while the pointer names its generation, or it is
bound to none, and it holds an exclusive lock on `{state_dir}/serving.lock`. When the pointer names another generation
it takes no connection any more, ends those that it has, and only then lets go of the lock. So no answer of one
generation begins after one of the next was given. The kernel frees the lock of a process that is killed. In the lock's
file it leaves the offsets that it has answered: the next one answers nothing that is less.

Follows the pointer (see `infra.live_pointer`); writes the status file: `running` says that it can answer, `serves`
that it is its turn.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from infra.failpoints import Failpoints
from infra.live_pointer import LivePointer
from infra.settings import Settings
from infra.status import write_status
from schemas.errors import DataflowError
from serving.api.door import Door
from serving.api.service import Service

LOCK_FILE = "serving.lock"
HOLDER = "holder"
REACH_SECONDS = 5.0
LOCK_PAUSE = 0.02  # seconds; only while another process is about to let go of it

log = logging.getLogger("dataflow.api")


class ServingLock:
    """An exclusive flock on a file, for one holder in all processes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._handle: int | None = None

    def take(self) -> bool:
        """Whether this process holds it now."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def hold(self, generation: int | None, told: Mapping[str, int]) -> None:
        """Leave word of who answers from now on, for the case that it cannot say any more what it has answered.

        What was `told` before stays.
        """
        with suppress(OSError):
            self._write({**told, HOLDER: generation or 0})

    def died(self) -> int | None:
        """The generation of a holder that died while it answered. Call it with the lock held, before `hold`."""
        try:
            return orjson.loads(self._file.read_bytes() or b"{}").get(HOLDER) or None
        except (OSError, ValueError, AttributeError):
            return None

    def _write(self, content: Mapping[str, int]) -> None:
        # Blanks over what is left of a longer one, in the same write: at no moment it is half a document.
        text = orjson.dumps(content)
        os.pwrite(self._handle, text.ljust(os.fstat(self._handle).st_size), 0)
        os.ftruncate(self._handle, len(text))

    def told(self) -> dict[str, int]:
        """What the holder before has answered, as far as it could still say. Call it with the lock held."""
        try:
            found = orjson.loads(self._file.read_bytes() or b"{}")
            return {str(name): int(offset) for name, offset in found.items() if name != HOLDER}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def release(self, served: Mapping[str, int]) -> None:
        """Let go of it, and leave word of what was answered."""
        with suppress(OSError):  # a full disk: then the next one knows of less
            self._write(served)
        os.close(self._handle)
        self._handle = None


class Handover:
    """Opens and closes the door of a process when it is its turn, from `start` to `end`."""

    def __init__(self, settings: Settings, service: Service, door: Door) -> None:
        self._number, self._status = settings.dataflow_generation, settings.dataflow_status_file
        self._service, self._door = service, door
        self._lock = ServingLock(settings.state_dir / LOCK_FILE)
        self._failpoints = Failpoints(settings)
        self._pointer = None if self._number is None else LivePointer(settings, self._on_pointer)
        self._live: int | None = None
        self._ending = False
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def start(self, on_failure: Callable[[], None]) -> None:
        """`on_failure` is called if it cannot go on; `end` raises the reason."""
        self._service.on_known = self._changed.set
        if self._pointer is not None:
            self._pointer.start()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda task: self._ending or on_failure())

    async def end(self) -> None:
        """Close the door and let go of the lock, if it is this one's turn."""
        if self._pointer is not None:
            self._pointer.stop()
        self._ending = True
        self._changed.set()
        await self._task

    def _on_pointer(self, live: int | None) -> None:
        """In the pointer's thread."""
        with suppress(RuntimeError):  # the loop has ended, and so has this process
            self._loop.call_soon_threadsafe(self._turn_to, live)

    def _turn_to(self, live: int | None) -> None:
        self._live = live
        self._changed.set()

    @property
    def _is_able(self) -> bool:
        # Bound to none it follows the pointer within itself, and says what is missing until it knows it.
        return self._number is None or self._service.is_known

    @property
    def _is_wanted(self) -> bool:
        return not self._ending and (self._number is None or self._live == self._number)

    async def _run(self) -> None:
        await self._until(lambda: self._is_able or self._ending)
        while not self._ending:
            self._tell(serves=False)
            await self._until(lambda: self._is_wanted or self._ending)
            if await self._has_lock():
                # If this fails the door may be open: then the lock is free when this process has ended, and not before.
                await self._serve()
                self._lock.release(self._service.served)

    async def _serve(self) -> None:
        self._failpoints.hit("handover.after_lock")
        told, died = self._lock.told(), self._lock.died()
        if died is not None and died != self._number:
            reached = await self._service.reached_by(died)
            told |= {at: max(offset, told.get(at, 0)) for at, offset in reached.items()}
        # Only now: if this one dies, too, the next has to know what the one before it told.
        self._lock.hold(self._number, told)
        self._failpoints.hit("handover.after_hold")
        self._service.remember(told)
        await self._until_reached()
        await self._door.open()
        self._tell(serves=True)
        await self._until(lambda: not self._is_wanted)
        self._failpoints.hit("handover.before_close")
        await self._door.close()
        self._failpoints.hit("handover.before_release")

    async def _until_reached(self) -> None:
        """Wait a little for what was answered before; then readers are told that the numbers are being made."""
        deadline = self._loop.time() + REACH_SECONDS
        while self._is_wanted and self._loop.time() < deadline:
            try:
                await self._service.read()
                return
            except DataflowError:
                await asyncio.sleep(LOCK_PAUSE)

    async def _has_lock(self) -> bool:
        """Wait for it as long as it is wanted."""
        while self._is_wanted:
            if self._lock.take():
                return True
            await asyncio.sleep(LOCK_PAUSE)
        return False

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _tell(self, serves: bool) -> None:
        log.info("%s", "answers from now on" if serves else "waits for its turn")
        try:
            write_status(self._status, "running", serves=serves, generation=self._number)
        except OSError as error:
            log.error("%s cannot be written: %s", self._status, error)

"""One reader for all push clients: woken by commits, it reads one snapshot and hands it to everybody who listens.

Works only while somebody listens. Clients share the newest snapshot and the newest state: a slow one skips what it was
too slow for, and none has a queue. Reads Redis, and its channel that announces commits.
"""

import asyncio
import logging
import random
import time

from schemas.errors import DataflowError
from serving.api.health import Health
from serving.api.live.board import AT_ONCE, Board
from serving.api.live.client import Client
from serving.api.live.frames import EventId, retry
from serving.api.live.notes import Notes
from serving.api.live.snapshot import describe, document, minute_range, questions
from serving.api.live.source import Source, is_cancelled, wake_at_commits
from serving.api.problems import RETRY_SOON, Problem
from serving.read import Rebuilding

SHORTEST_PAUSE = 0.015
# Of one core, at most: for building snapshots, and for sending them, which is more the more clients there are.
BUILDING_SHARE, SENDING_SHARE = 0.2, 0.4
CLIENT_SECONDS = 20e-6  # CPU to send one snapshot to one client
PULSE = 1.0
TICK = 1.0  # lag grows without a commit
SOON_MS, JOINING_MS = (
    100,
    0.3,
)  # after which clients come again that are sent elsewhere: at least, and for each of them

log = logging.getLogger("dataflow.api")


class Hub:
    """The newest snapshot and state, for any number of clients up to `most`."""

    def __init__(self, source: Source, most: int) -> None:
        self.source, self.most = source, most
        self.snapshots = 0
        self._clients: set[Client] = set()
        self._board = Board()
        self._notes = Notes(source, self._board)
        self._tasks: list[asyncio.Task] = []
        self._wake = asyncio.Event()
        self._newest_event = 0
        self._resting = False

    # --- clients

    @property
    def clients(self) -> int:
        return len(self._clients)

    def check_room(self) -> None:
        """Raises Problem if no client more is taken."""
        if self.clients >= self.most:
            raise Problem(
                503,
                "too-many-clients",
                f"at most {self.most:,} clients are pushed to at once: try again, or ask /v1/metrics",
                RETRY_SOON,
            )

    def join(self, last: EventId | None) -> Client:
        """One client more, that has seen `last`: what it is to be sent until the hub closes. Call `leave` after."""
        if not self._clients:
            self._board.clear()
            self._restart()
        client = Client(self._board, last)
        if self._resting:
            client.end(self._elsewhere())
        self._clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        self._clients.discard(client)
        self._board.forget(client)
        if not self._clients:
            self._stop()

    async def close(self) -> None:
        """End all streams."""
        self._board.close()
        tasks = self._stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def rest(self) -> None:
        """End all streams, and those that still come until `resume`; the clients are told to come again at once."""
        self._resting = True
        for number, client in enumerate(list(self._clients)):
            client.end(self._elsewhere())
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)

    def resume(self) -> None:
        """Streams go on for as long as their clients want."""
        self._resting = False

    def _elsewhere(self) -> bytes:
        # Thousands that came again in one moment would wait for each other.
        return retry(SOON_MS + round(random.random() * self.clients * JOINING_MS))

    def switch(self) -> None:
        """The service reads another generation from now on."""
        self._board.forget_snapshot()
        if self.clients and not self._board.closed:
            self._stop()
            self._restart()

    # --- the newest snapshot and state

    def _restart(self) -> None:
        self._wake.set()
        listener = wake_at_commits(self.source, self._wake)
        jobs = (self._run(), listener, self._keep_alive())
        self._tasks = [asyncio.create_task(job) for job in jobs]

    def _stop(self) -> list[asyncio.Task]:
        stopped, self._tasks = self._tasks, []
        for task in stopped:
            task.cancel()
        return stopped

    async def _run(self) -> None:
        while not is_cancelled():
            try:
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            except TimeoutError:
                pass
            woken = self._wake.is_set() or self._board.snapshot is None
            self._wake.clear()
            began, cpu = time.monotonic(), time.thread_time()
            with self._board.in_one():
                await self._turn(woken)
                if told := self._board.is_state("live"):
                    # With the numbers, not in a message of its own to each client.
                    await self._notes.look()
            if not told:
                # Nobody waits for notes to hear that there are no numbers.
                await self._notes.look()
            # What other tasks did meanwhile counts too, which errs on the quiet side.
            building, sending = time.thread_time() - cpu, self.clients * CLIENT_SECONDS
            pause = max(SHORTEST_PAUSE, building / BUILDING_SHARE + sending / SENDING_SHARE)
            pause -= time.monotonic() - began
            await asyncio.sleep(max(0.0, pause))

    async def _keep_alive(self) -> None:
        """Wake who was sent nothing for long. One task for all: a timer a client would cost more than its frames."""
        while True:
            await asyncio.sleep(PULSE)
            now = time.monotonic()
            for client in [each for each in self._clients if each.is_silent(now)]:
                client.wake()

    async def _turn(self, woken: bool) -> None:
        try:
            if not woken:
                _, health = await self.source.read_health()
                if self._board.shows(self._id_of(health)):
                    self._live(health, tick=True)
                    return
            await self._take_snapshot()
        except Exception as error:
            if not isinstance(error, DataflowError):
                # Clients must not go on believing what they see because the hub has died.
                log.exception("no snapshot can be taken")
            state = "rebuilding" if isinstance(error, Rebuilding) else "unavailable"
            detail = str(error) if isinstance(error, DataflowError) else type(error).__name__
            # A rebuild comes on with each commit; a reader wants to know about once a second.
            key = (state, int(time.monotonic())) if self._board.is_state(state) else (state, None)
            self._board.show_state(state, key, {"state": state, "detail": detail, "as_of": None})
            # What is there afterwards is sent anew, also if it is the same.
            self._board.forget_snapshot()

    async def _take_snapshot(self) -> None:
        while True:
            asked = minute_range(self._newest_event)
            answer, health = await self.source.read_health(questions(self._newest_event))
            if is_cancelled():
                # Of a generation that is no longer the live one, perhaps.
                return
            self._newest_event = answer.as_of.now
            if minute_range(self._newest_event) == asked:
                break
        event_id = self._id_of(health)
        if self._board.shows(event_id):
            self._live(health, tick=True)
            return
        self._live(health, tick=False)
        settings = self.source.settings
        data = document(answer, health, settings.shop_currency, settings.shop_timezone)
        self.snapshots += 1
        self._board.show_snapshot(event_id, data)

    def _live(self, health: Health, tick: bool) -> None:
        """A snapshot says all this itself; a message of its own is for when only this has changed."""
        key = ("live", health.behind, health.stale, health.exact, health.freshness_seconds)
        if tick or not self._board.is_state("live"):
            self._board.show_state("live", key, {"state": "live", **describe(health)})
        else:
            self._board.state_is_told(key)

    def _id_of(self, health: Health) -> EventId:
        return EventId(health.as_of.generation, health.as_of.position, self.source.world)

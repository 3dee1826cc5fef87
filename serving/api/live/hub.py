"""One reader for all push clients: woken by commits, it reads one snapshot and hands it to everybody who listens.

Works only while somebody listens. Clients share the newest snapshot and the newest state: a slow one skips what it was
too slow for, and none has a queue. Reads Redis, and its channel that announces commits.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.settings import Settings
from schemas.errors import DataflowError
from serving.api.health import Health
from serving.api.live.frames import HEARTBEAT, RETRY, EventId, frame
from serving.api.live.snapshot import describe, document, minute_range, questions
from serving.api.problems import RETRY_SOON, Problem
from serving.read import Answer, MetricQuery, Reader, Rebuilding

SHORTEST_PAUSE = 0.015
CPU_SHARE = 0.2  # of one core, at most, for building and sending snapshots
CLIENT_SECONDS = 30e-6  # CPU to send one snapshot to one client
TICK = 1.0  # lag grows without a commit
HEARTBEAT_SECONDS = 10.0
LONGEST_BACKOFF = 2.0

REBUILDING = frame("state", {"state": "rebuilding", "detail": "others have shown more", "as_of": None})

log = logging.getLogger("dataflow.api")


class Source(Protocol):
    """What the hub reads from."""

    settings: Settings
    redis: Redis

    @property
    def reader(self) -> Reader: ...

    async def read_health(self, queries: Sequence[MetricQuery] = ()) -> tuple[Answer, Health]: ...


class Hub:
    """The newest snapshot and state, for any number of clients up to `most`."""

    def __init__(self, source: Source, most: int) -> None:
        self.source, self.most = source, most
        self.clients = 0
        self.snapshots = 0
        self._closed = False
        self._tasks: list[asyncio.Task] = []
        self._wake = asyncio.Event()
        self._changed: asyncio.Future | None = None
        self._newest_event = 0
        self._forget()

    def _forget(self) -> None:
        self._snapshot: tuple[int, EventId, bytes] | None = None  # number, id, frame
        self._state: tuple[int, str, bytes] | None = None  # number, state, frame
        self._state_key: Any = None
        self._number = 0

    # --- clients

    def check_room(self) -> None:
        """Raises Problem if no client more is taken."""
        if self.clients >= self.most:
            raise Problem(
                503,
                "too-many-clients",
                f"at most {self.most:,} clients are pushed to at once: try again, or ask /v1/metrics",
                RETRY_SOON,
            )

    async def stream(self, last: EventId | None) -> AsyncIterator[bytes]:
        """The frames for one client that has seen `last`, until the hub closes. Call `join` before, `leave` after."""
        yield RETRY
        seen_state = seen_snapshot = -1
        told = False
        while not self._closed:
            changed = self._next_change()
            # Each with its number: what was found later is sent later.
            found: list[tuple[int, bytes]] = []
            if self._state is not None and self._state[0] != seen_state:
                seen_state = self._state[0]
                found.append((seen_state, self._state[2]))
            if self._snapshot is not None and self._snapshot[0] != seen_snapshot:
                seen_snapshot, event_id, snapshot = self._snapshot
                if last is not None and _is_older(event_id, last):
                    # Another process showed more than this one has: nobody is sent back in time.
                    if not told:
                        found.append((seen_snapshot, REBUILDING))
                    told = True
                else:
                    if event_id != last:
                        found.append((seen_snapshot, snapshot))
                    elif told and self._state is not None:
                        found.append((seen_snapshot, self._state[2]))
                    last = None
            if found:
                yield b"".join(each for _, each in sorted(found))
                continue
            await asyncio.wait((changed,), timeout=HEARTBEAT_SECONDS)
            if not changed.done():
                yield HEARTBEAT

    def join(self) -> None:
        self.clients += 1
        if self.clients == 1:
            self._forget()
            self._restart()

    def leave(self) -> None:
        self.clients -= 1
        if self.clients == 0:
            self._stop()

    async def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._publish()
        tasks = self._stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    def switch(self) -> None:
        """The service reads another generation from now on."""
        self._snapshot = None
        if self.clients and not self._closed:
            self._stop()
            self._restart()

    # --- the newest snapshot and state

    def _restart(self) -> None:
        self._wake.set()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._listen())]

    def _stop(self) -> list[asyncio.Task]:
        stopped, self._tasks = self._tasks, []
        for task in stopped:
            task.cancel()
        return stopped

    async def _run(self) -> None:
        while not _is_cancelled():
            try:
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            except TimeoutError:
                pass
            woken = self._wake.is_set() or self._snapshot is None
            self._wake.clear()
            began, cpu = time.monotonic(), time.thread_time()
            await self._turn(woken)
            # What other tasks did meanwhile counts too, which errs on the quiet side.
            cost = time.thread_time() - cpu + self.clients * CLIENT_SECONDS
            pause = max(SHORTEST_PAUSE, cost / CPU_SHARE) - (time.monotonic() - began)
            await asyncio.sleep(max(0.0, pause))

    async def _turn(self, woken: bool) -> None:
        try:
            if not woken:
                _, health = await self.source.read_health()
                if self._snapshot is not None and self._snapshot[1] == _id_of(health):
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
            key = (state, int(time.monotonic())) if self._state_is(state) else (state, None)
            self._set_state(state, key, {"state": state, "detail": detail, "as_of": None})
            # What is there afterwards is sent anew, also if it is the same.
            self._snapshot = None

    async def _take_snapshot(self) -> None:
        while True:
            asked = minute_range(self._newest_event)
            answer, health = await self.source.read_health(questions(self._newest_event))
            if _is_cancelled():
                # Of a generation that is no longer the live one, perhaps.
                return
            self._newest_event = answer.as_of.event_time
            if minute_range(self._newest_event) == asked:
                break
        event_id = _id_of(health)
        if self._snapshot is not None and self._snapshot[1] == event_id:
            self._live(health, tick=True)
            return
        self._live(health, tick=False)
        settings = self.source.settings
        data = document(answer, health, settings.shop_currency, settings.shop_timezone)
        self._number += 1
        self.snapshots += 1
        self._snapshot = self._number, event_id, frame("snapshot", data, event_id)
        self._publish()

    def _live(self, health: Health, tick: bool) -> None:
        """A snapshot says all this itself; a message of its own is for when only this has changed."""
        key = ("live", health.behind, health.stale, health.exact, health.freshness_ms // 1000)
        if tick or not self._state_is("live"):
            self._set_state("live", key, {"state": "live", **describe(health)})
        else:
            self._state_key = key

    def _state_is(self, state: str) -> bool:
        return self._state is not None and self._state[1] == state

    def _set_state(self, state: str, key: Any, data: dict[str, Any]) -> None:
        if key == self._state_key:
            return
        self._state_key = key
        self._number += 1
        self._state = self._number, state, frame("state", data)
        self._publish()

    # --- waking

    def _next_change(self) -> asyncio.Future:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    def _publish(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    async def _listen(self) -> None:
        """Wake at each commit. While Redis is away the tick looks after it."""
        backoff = 0.1
        while not _is_cancelled():
            try:
                channel = self.source.reader.keys.channel
                async with self.source.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(channel)
                    self._wake.set()
                    while not _is_cancelled():
                        if await pubsub.get_message(timeout=TICK) is not None:
                            backoff = 0.1
                            self._wake.set()
            except (DataflowError, RedisError, OSError):
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, LONGEST_BACKOFF)


def _is_cancelled() -> bool:
    """Whether somebody ends this task. redis-py now and then swallows the cancellation that it is told by."""
    return asyncio.current_task().cancelling() > 0


def _id_of(health: Health) -> EventId:
    return EventId(health.as_of.generation, health.as_of.position)


def _is_older(event_id: EventId, last: EventId) -> bool:
    return event_id.generation == last.generation and event_id.position < last.position

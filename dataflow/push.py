"""The client's side of GET /v1/live: server-sent events to views of the live numbers, through disconnections.

`Parser` and `View.after` are pure; `follow` reads the API.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson

from dataflow.api import api_headers, check
from infra.runtime.errors import NotRunning
from infra.settings import Settings
from schemas.errors import Unavailable

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 25.0  # the server sends a heartbeat every 10
RETRY_SECONDS = 1.0  # until the server names another pause
LONGEST_PAUSE = 8.0
STALE_AFTER_MS = 5_000

LIVE, STALE, REBUILDING, UNAVAILABLE, DISCONNECTED, CONNECTING = (
    "live",
    "stale",
    "rebuilding",
    "unavailable",
    "disconnected",
    "connecting",
)


@dataclass(frozen=True)
class Event:
    """One server-sent event; `id` is None where it brings none."""

    name: str
    data: str
    id: str | None


class Parser:
    """Bytes to events (HTML standard, 9.2.6), for the line endings and fields that a server may use.

    Lines end at CR and LF alone: a text inside the data may hold what Python would also take for the end of a line.
    """

    def __init__(self) -> None:
        self.retry_seconds = RETRY_SECONDS
        self._rest = b""
        self._name, self._id = "", None
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are complete with this chunk."""
        text = self._rest + chunk
        # A CR at the end may be the first half of a CRLF.
        held = b"\r" if text.endswith(b"\r") else b""
        lines = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        found = [self._line(line.decode("utf-8", "replace")) for line in lines]
        return [event for event in found if event is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            event = Event(self._name or "message", "\n".join(self._data), self._id) if self._data else None
            self._name, self._id, self._data = "", None, []
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_seconds = int(value) / 1000
        return None


@dataclass(frozen=True)
class View:
    """What there is to show: the newest snapshot, and whether it is still the newest there could be.

    `since` is when (monotonic seconds) the state began; `detail` says why it is not live.
    """

    state: str
    detail: str | None
    since: float
    snapshot: Mapping[str, Any] | None = None
    event_id: str | None = None

    def after(self, event: Event, now: float) -> "View":
        """This view with an event taken in; events of kinds that are not known change nothing."""
        if event.name not in ("snapshot", "state"):
            return self
        data = orjson.loads(event.data)
        if event.name == "snapshot":
            view = replace(self, snapshot=data, event_id=event.id)
        elif data["state"] != LIVE:
            return self.turned(data["state"], data.get("detail"), now)
        elif self.snapshot is None or _position(data) != _position(self.snapshot):
            # It tells of numbers that are yet to come: those shown must not be given its offsets.
            return self
        else:
            # The same numbers, but lag and freshness have changed.
            view = replace(
                self, snapshot={**self.snapshot, **{k: v for k, v in data.items() if k != "state"}}
            )
        reason = staleness(view.snapshot)
        return view.turned(STALE if reason else LIVE, reason, now)

    def turned(self, state: str, detail: str | None, now: float) -> "View":
        return replace(self, state=state, detail=detail, since=self.since if state == self.state else now)

    def as_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "detail": self.detail,
            "id": self.event_id,
            **(self.snapshot or {"as_of": None}),
        }


def _position(data: Mapping[str, Any]) -> tuple[str, int]:
    return data["as_of"]["generation"], data["as_of"]["position"]


def staleness(snapshot: Mapping[str, Any]) -> str | None:
    """Why a snapshot is not what the topics hold by now, None if it is."""
    lag, freshness = snapshot["lag"], snapshot["freshness"]["freshness_ms"]
    if lag["stale"]:
        return "the broker does not say where the topics end"
    if lag["records_behind"] and freshness is None:
        return f"{lag['records_behind']:,} records behind, none is counted yet"
    if lag["records_behind"] and freshness > STALE_AFTER_MS:
        return f"{lag['records_behind']:,} records behind, {freshness / 1000:,.0f} s"
    return None


async def follow(settings: Settings, address: Callable[[], str]) -> AsyncIterator[View]:
    """A view each time that something changes, for ever. `address` says where the API is, each time anew.

    Resumes with Last-Event-ID. Raises SettingsError where the API wants a key; everything else is tried again.
    """
    view = View(CONNECTING, None, time.monotonic())
    attempts, parser = 0, Parser()
    timeout = httpx.Timeout(CONNECT_SECONDS, read=SILENCE_SECONDS)
    async with httpx.AsyncClient(timeout=timeout, trust_env=False, headers=api_headers(settings)) as client:
        while True:
            resume = {"Last-Event-ID": view.event_id} if view.event_id else {}
            pause, parser = parser.retry_seconds, Parser()
            parser.retry_seconds = pause
            try:
                async with client.stream("GET", f"{address()}/v1/live", headers=resume) as answer:
                    if not answer.is_success:
                        await answer.aread()
                    check(answer)
                    async for chunk in answer.aiter_bytes():
                        attempts = 0
                        for event in parser.feed(chunk):
                            view = view.after(event, time.monotonic())
                            yield view
                reason = "the API ended the connection"
            except httpx.ReadTimeout:
                reason = f"nothing came for {SILENCE_SECONDS:.0f} s"
            except (httpx.HTTPError, NotRunning, Unavailable) as error:
                reason = str(error) or type(error).__name__
            view = view.turned(DISCONNECTED, reason, time.monotonic())
            yield view
            await asyncio.sleep(min(parser.retry_seconds * 2**attempts, LONGEST_PAUSE))
            attempts = min(attempts + 1, 10)

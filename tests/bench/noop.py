"""What the API is measured beside: a bare ASGI application behind the same server, which does nothing but answer.

`/bytes/{n}` reads the request to its end and answers n bytes; `/push` sends the same frame to all clients at a rate.
"""

import asyncio
import socket
import time

from starlette.types import Receive, Scope, Send
from uvicorn import Server

from infra.settings import Settings
from serving.api.server import config_of
from tests.bench.workers import Inside

FRAME = b'id: g0-%d\nevent: snapshot\ndata: {"at":%.6f,"pad":"%s"}\n\n'


class Noop:
    """`frame_bytes` long frames, `frames` of them a second (0: none)."""

    def __init__(self, frame_bytes: int, frames: float) -> None:
        self._size, self._frames = frame_bytes, frames
        self._changed: asyncio.Future | None = None
        self._frame = b""
        self._ticking: asyncio.Task | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/push":
            await self._push(send)
        else:
            await self._answer(int(scope["path"].rpartition("/")[2]), receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._changed = asyncio.get_running_loop().create_future()
        if self._frames:
            self._ticking = asyncio.create_task(self._tick())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, size: int, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size})

    async def _push(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        while True:
            await self._changed
            await send({"type": "http.response.body", "body": self._frame, "more_body": True})

    async def _tick(self) -> None:
        number, due = 0, time.monotonic()
        pad = b"x" * max(0, self._size - 60)
        while True:
            due = max(due + 1 / self._frames, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            number += 1
            self._frame = FRAME % (number, time.monotonic(), pad)
            changed, self._changed = self._changed, asyncio.get_running_loop().create_future()
            changed.set_result(None)


def noop(inside: Inside, settings: Settings, frame_bytes: int = 0, frames: float = 0) -> None:
    """Serve until killed; shows its port."""
    server = _Server(config_of(Noop(frame_bytes, frames), settings))
    server.inside = inside
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        inside.show(listener.getsockname()[1])
        server.run(sockets=[listener])


class _Server(Server):
    inside: Inside

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.inside.ready()

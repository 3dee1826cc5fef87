"""GET /v1/live as a response: a plain stream that counts its client in and out.

Starlette's own streaming response would do; it costs a task group and a generator a client.
"""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.api.live.client import Client
from serving.api.live.frames import EventId
from serving.api.live.hub import Hub

HEADERS = {
    "Cache-Control": "no-store",
    # nginx would collect the stream before it hands it on
    "X-Accel-Buffering": "no",
}


class LiveStream(Response):
    """Frames of the hub until the client goes, or the process ends."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, last: EventId | None) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self.hub, self.last = hub, last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = self.hub.join(self.last)
        watching = asyncio.create_task(_watch(receive, client))
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            while (frames := await client.next()) is not None:
                # Waits while the connection has enough to do: what is shown meanwhile is skipped.
                await send({"type": "http.response.body", "body": frames, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watching.cancel()
            self.hub.leave(client)


async def _watch(receive: Receive, client: Client) -> None:
    """Tell when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    client.leave()

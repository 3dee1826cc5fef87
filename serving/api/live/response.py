"""GET /v1/live as a response: a plain stream that counts its client in and out."""

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serving.api.live.frames import EventId
from serving.api.live.hub import Hub

HEADERS = {
    "Cache-Control": "no-store",
    # nginx would collect the stream before it hands it on
    "X-Accel-Buffering": "no",
}


class LiveStream(StreamingResponse):
    """Frames of the hub until the client goes, or the process ends."""

    def __init__(self, hub: Hub, last: EventId | None) -> None:
        super().__init__(hub.stream(last), headers=HEADERS, media_type="text/event-stream")
        self.hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.hub.join()
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.body_iterator.aclose()
            self.hub.leave()

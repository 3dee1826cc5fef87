"""The HTTP server: uvicorn on uvloop, ending promptly although push streams never end by themselves."""

import socket

import uvicorn
from fastapi import FastAPI

from infra.settings import Settings

GRACE_SECONDS = 3


class Server(uvicorn.Server):
    """Ends the push streams before it waits for connections to close."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.config.app.state.service.hub.close()
        await super().shutdown(sockets)


def server_of(app: FastAPI, settings: Settings) -> Server:
    """One worker. The log says what goes wrong, and nothing of what clients send."""
    config = uvicorn.Config(
        app,
        host=settings.api_host.strip("[]"),
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Server(config)

"""The HTTP server: uvicorn on uvloop, ending promptly although push streams never end by themselves."""

import socket

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from infra.settings import Settings

GRACE_SECONDS = 3
# A client that takes nothing for so long is cut off by the kernel.
STUCK_SECONDS = 30
# Bytes that the kernel keeps for a client that is slow. It would keep 4 MB: hundreds of snapshots, all of them old by
# the time they are read, and gigabytes for thousands of clients.
UNSENT_BYTES = 65_536


class Server(uvicorn.Server):
    """Ends the push streams before it waits for connections to close; keeps little for clients that are slow."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in getattr(self, "servers", ()):
            for listener in server.sockets:
                bound_clients(listener)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.config.app.state.service.hub.close()
        await super().shutdown(sockets)


def server_of(app: FastAPI, settings: Settings) -> Server:
    """One worker."""
    return Server(config_of(app, settings))


def config_of(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How any application is served here. The log says what goes wrong, and nothing of what clients send."""
    return uvicorn.Config(
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


def bound_clients(listener: socket.socket) -> None:
    """For all connections that come in at `listener`. What a system cannot do it does not do."""
    for name, value in (("TCP_USER_TIMEOUT", STUCK_SECONDS * 1000), ("TCP_NOTSENT_LOWAT", UNSENT_BYTES)):
        option = getattr(socket, name, None)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)

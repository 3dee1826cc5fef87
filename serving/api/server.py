"""The HTTP server: uvicorn on uvloop, ending promptly although push streams never end by themselves.

Listens on API_HOST:API_PORT; or, with API_SOCKET, takes its turns at the socket that the supervisor handed over. On
API_PREVIEW_PORT it answers in any case, if nobody else has that port.
"""

import asyncio
import logging
import socket

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from infra.runtime.door import listen
from infra.runtime.ports import HOST
from infra.settings import Settings
from infra.status import write_status
from serving.api.clients import bound_clients, protocols
from serving.api.door import Door, handed_over
from serving.api.handover import Handover

GRACE_SECONDS = 3

log = logging.getLogger("dataflow.api")


class Server(uvicorn.Server):
    """Ends the push streams before it waits for connections to close; keeps little for clients that are slow."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings
        self._handover: Handover | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        settings, service = self._settings, self.config.app.state.service
        preview = preview_listener(settings.api_preview_port)
        shared = None if settings.api_socket is None else handed_over(settings.api_socket)
        await super().startup(sockets if shared is None else [])
        if preview is not None:
            factory = protocols(self, self.server_state)
            self.servers.append(await asyncio.get_running_loop().create_server(factory, sock=preview))
        for server in self.servers:
            for listener in server.sockets:
                bound_clients(listener)
        if shared is None:
            write_status(settings.dataflow_status_file, "running", serves=True)
        else:
            self._handover = Handover(settings, service, Door(shared, self, service.hub))
            self._handover.start(self._give_up)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            if self._handover is not None:
                await self._handover.end()
        finally:
            await self.config.app.state.service.hub.close()
            await super().shutdown(sockets)

    def _give_up(self) -> None:
        log.error("this process can take no turns any more, and ends")
        self.should_exit = True


def server_of(app: FastAPI, settings: Settings) -> Server:
    """One worker."""
    return Server(config_of(app, settings), settings)


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


def preview_listener(port: int | None) -> socket.socket | None:
    """None if there is no such port, or somebody else has it: those who ask the live one are answered all the same."""
    if port is None:
        return None
    try:
        return listen(HOST, port)
    except OSError as error:
        log.error(
            "API_PREVIEW_PORT=%d: expected to listen there on %s; saw: %s. This generation is seen when it is "
            "live, and there once the port is free and this process is started again",
            port,
            HOST,
            error,
        )
        return None

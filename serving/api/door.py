"""The way in by the listening socket that processes share: opened when it is this one's turn, and closed in good order.

Each time a duplicate of the socket is listened at and then closed; the shared one goes on, and who connects meanwhile
waits in it for whoever opens next.
"""

import asyncio
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from schemas.errors import SettingsError
from serving.api.clients import bound_clients, protocols
from serving.api.live.hub import Hub

TICK = 0.01
# How long a connection that asks nothing is left open: a request that is on its way is answered, not cut off.
LINGER_SECONDS = 0.1
# A push client that takes nothing, for it sleeps, is not waited for longer; nor any other request. All others wait.
ASLEEP_SECONDS, REQUEST_SECONDS = 0.5, 3.0
PUSH_PATH = "/v1/live"
# What is asked here says nothing of the numbers of this generation. A switch is asked of the process that it takes the
# door from: the command ends when it has been seen, and a browser that hears nothing sends it once more.
ACTS_PATH = "/v1/replays"
LAST = (b"connection", b"close")


class Connections(ServerState):
    """The connections that came in by the door. While it is being closed, an answer is the last of its connection."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._server = server
        self.closing = False
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer begins with."""
        usual = self._server.server_state.default_headers
        return [*usual, LAST] if self.closing else usual

    @default_headers.setter
    def default_headers(self, _: object) -> None:
        """They are the server's."""


class Door:
    """Takes connections from `listener` for a running `server`, between `open` and `close`."""

    def __init__(self, listener: socket.socket, server: uvicorn.Server, hub: Hub) -> None:
        self._listener, self._server, self._hub = listener, server, hub
        self._connections = Connections(server)
        self._accepting: asyncio.Server | None = None

    async def open(self) -> None:
        """Take connections from now on."""
        self._connections.closing = False
        self._hub.resume()
        ours = self._listener.dup()
        bound_clients(ours)
        self._accepting = await asyncio.get_running_loop().create_server(
            protocols(self._server, self._connections), sock=ours, backlog=self._server.config.backlog
        )

    async def close(self) -> None:
        """Take none any more; when this returns, nothing that came in will be answered any more but acts on replays."""
        self._accepting.close()
        self._connections.closing = True
        clock = asyncio.get_running_loop().time
        began = clock()
        # Before the streams end, so that their connections end with them.
        self._hasten(0)
        await self._hub.rest()
        # What was taken just now is then among the connections.
        await asyncio.sleep(TICK)
        while any(not acts(connection) for connection in self._connections.connections):
            self._hasten(clock() - began)
            await asyncio.sleep(TICK)

    def _hasten(self, waited: float) -> None:
        for connection in list(self._connections.connections):
            hasten(connection, waited)


def acts(connection: HttpToolsProtocol) -> bool:
    """Whether somebody waits there for an act on replays, which takes its time."""
    cycle = connection.cycle
    if cycle is None or cycle.response_complete or not cycle.scope["path"].startswith(ACTS_PATH):
        return False
    return cycle.scope["method"] != "GET" or cycle.scope["path"].endswith("/diff")


def hasten(connection: HttpToolsProtocol, waited: float) -> None:
    """Let a connection end that has been asked to for `waited` seconds."""
    cycle = connection.cycle
    if acts(connection):
        connection.shutdown()  # which is its last
        return
    idle = cycle is None or cycle.response_complete
    asleep = not idle and cycle.scope["path"] == PUSH_PATH and connection.flow.write_paused
    patience = ASLEEP_SECONDS if asleep else REQUEST_SECONDS
    if waited >= patience:
        connection.transport.abort()
    elif not idle or waited >= LINGER_SECONDS:
        # What is being answered is its last.
        connection.shutdown()


def handed_over(number: int) -> socket.socket:
    """The listening socket that the supervisor handed over. Raises SettingsError."""
    try:
        listener = socket.socket(fileno=number)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError("it does not listen")
    except OSError as error:
        raise SettingsError(
            f"API_SOCKET={number}: expected the descriptor of a listening socket, as `dataflow up` hands it over; saw: "
            f"{error}. Leave it unset: then the API listens on API_HOST:API_PORT"
        ) from error
    # What this process might start has no business with it.
    listener.set_inheritable(False)
    return listener

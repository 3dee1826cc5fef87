"""How connections are taken in: by which protocol, and what the kernel does for clients that are slow."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial

import uvicorn
from uvicorn.server import ServerState

# A client that takes nothing for so long is cut off by the kernel.
STUCK_SECONDS = 30
# Bytes that the kernel keeps for a client that is slow. It would keep 4 MB: hundreds of snapshots, all of them old by
# the time they are read, and gigabytes for thousands of clients.
UNSENT_BYTES = 65_536


def protocols(server: uvicorn.Server, state: ServerState) -> Callable[[], asyncio.Protocol]:
    """Makes what speaks with one connection of a `server` that has started; `state` counts it in and out."""
    return partial(
        server.config.http_protocol_class,
        config=server.config,
        server_state=state,
        app_state=server.lifespan.state,
    )


def bound_clients(listener: socket.socket) -> None:
    """For all connections that come in at `listener`. What a system cannot do it does not do."""
    for name, value in (("TCP_USER_TIMEOUT", STUCK_SECONDS * 1000), ("TCP_NOTSENT_LOWAT", UNSENT_BYTES)):
        option = getattr(socket, name, None)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)

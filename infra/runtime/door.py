"""The listening socket of API_HOST:API_PORT. The platform owns it and hands it to every process of the API.

So it is there whichever of them answers, and while none does: who connects meanwhile waits and is not refused.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import SetupError

BACKLOG = 2_048  # connections that wait; the system may allow fewer


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # As servers do: a connection of the previous run in TIME_WAIT does not stand in the way.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def open_door(host: str, port: int) -> Iterator[int]:
    """Listen there until the block ends; yields the number of the descriptor. Raises SetupError."""
    try:
        listener = listen(host, port)
    except OSError as error:
        raise SetupError(
            f"expected to listen on API_HOST={host}, port {port}, free a moment ago; saw: {error}. Start again"
        ) from error
    with listener:
        yield listener.fileno()

"""An address in front of a real service that a test can close: it is the same, and who connects gets no answer."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

from infra.runtime.ports import HOST

TICK = 0.05  # seconds until an open connection notices that the gate is closed


class Gate(ThreadingTCPServer):
    """Forwards to the host and port of `url` while it is open. `calls` counts the connections, answered or not.

    `url` may be `host:port` alone; the gate has its own `url` and `address`.
    """

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__((HOST, 0), _Visitor)
        parts = urlsplit(url if "//" in url else f"//{url}")
        self.target = parts.hostname, parts.port
        self.port: int = self.server_address[1]
        self.address = f"{HOST}:{self.port}"
        self.url = parts._replace(netloc=self.address).geturl()
        self.opened = threading.Event()
        self.opened.set()
        self.calls = 0

    def open(self) -> None:
        self.opened.set()

    def close(self) -> None:
        """Connections that are open end too."""
        self.opened.clear()


class _Visitor(BaseRequestHandler):
    server: Gate

    def handle(self) -> None:
        self.server.calls += 1
        if not self.server.opened.is_set():
            return
        # Either side may go away at any moment.
        with suppress(OSError), socket.create_connection(self.server.target) as service:
            ends = {self.request: service, service: self.request}
            while self.server.opened.is_set():
                for end in select.select(list(ends), [], [], TICK)[0]:
                    data = end.recv(65_536)
                    if not data:
                        return
                    ends[end].sendall(data)


@contextmanager
def gate_to(url: str) -> Iterator[Gate]:
    """A gate, open."""
    with Gate(url) as gate:
        thread = threading.Thread(target=gate.serve_forever, kwargs={"poll_interval": TICK}, name="gate")
        thread.start()
        try:
            yield gate
        finally:
            gate.close()
            gate.shutdown()
            thread.join()

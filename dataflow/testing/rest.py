"""The real API behind a real server, in a thread of this process: in place in a blink, and gone with the test."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from dataflow.testing.wait import wait_for
from infra.runtime.ports import HOST
from infra.settings import Settings
from serving.api.app import create_app
from serving.api.server import Server, server_of
from serving.api.service import Service

REQUEST_SECONDS = 30
END_SECONDS = 15


class Running:
    """The application of an environment on a free port; `http` is a client of it."""

    def __init__(self, server: Server, settings: Settings) -> None:
        self.server, self.settings = server, settings
        self.url = f"http://{settings.api_host}:{settings.api_port}"
        self.http = httpx.Client(base_url=self.url, timeout=REQUEST_SECONDS, trust_env=False)

    @property
    def service(self) -> Service:
        """What the routes answer from."""
        return self.server.config.app.state.service

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.http.post(path, **options)

    def wait_ready(self, timeout: float = 30) -> None:
        """Until numbers can be read. Raises AssertionError with what the API answers instead."""
        try:
            wait_for(lambda: self.http.get("/readyz").status_code == 200, timeout, "readiness of the API")
        except AssertionError as error:
            raise AssertionError(f"{error}: it says {self.http.get('/readyz').text}") from None


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextmanager
def serving(settings: Settings, port: int | None = None) -> Iterator[Running]:
    """Run the API until the block ends, on any free port unless one is given; `Running.settings` has it."""
    settings = settings.replace(api_port=port or free_port())
    server = server_of(create_app(settings), settings)
    thread = threading.Thread(target=server.run, name="api", daemon=True)
    thread.start()
    running = Running(server, settings)
    try:
        wait_for(lambda: server.started or not thread.is_alive(), what="the start of the API's server")
        assert thread.is_alive(), f"the API ended at its start, on port {settings.api_port}"
        yield running
    finally:
        running.http.close()
        server.should_exit = True
        thread.join(END_SECONDS)
        assert not thread.is_alive(), "the API's server did not end"

"""Many push clients in one process: raw sockets on one selector, so that they cost less than who they listen to.

Runs in a worker. Notes when each client had the whole of which snapshot; shows how many snapshots came in all.
"""

import re
import selectors
import socket
import time
from array import array
from collections.abc import Mapping
from typing import Any

import orjson

from serving.api.process import SPARE_FILES, raise_file_limit
from tests.bench.workers import Inside

SNAPSHOT = re.compile(rb"id: g\d+-(\d+)[^\n]*\nevent: snapshot\ndata: ")
RECEIVE = 1 << 18
CONNECT_SECONDS = 60.0
FIRST_SECONDS = 30.0


class _Client:
    __slots__ = ("numbers", "rest", "socket", "times")

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address, CONNECT_SECONDS)
        self.socket.sendall(request)
        self.socket.setblocking(False)
        self.rest = b""
        self.times, self.numbers = array("d"), array("q")


class _Crowd:
    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._selector = selectors.DefaultSelector()
        self.clients: list[_Client] = []
        self.documents: dict[int, Any] = {}  # by number of the snapshot
        self.sizes: dict[int, int] = {}
        self.lost = self.snapshots = self.bytes = 0

    def join(self, address: tuple[str, int], request: bytes) -> None:
        client = _Client(address, request)
        self.clients.append(client)
        self._selector.register(client.socket, selectors.EVENT_READ, client)

    def look(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            client: _Client = key.data
            try:
                got = client.socket.recv(RECEIVE)
            except BlockingIOError:
                continue
            except OSError:
                got = b""
            if got:
                self.bytes += len(got)
                self._take(client, got)
            else:
                self.lost += 1
                self._selector.unregister(client.socket)
                client.socket.close()
        self._inside.show(self.snapshots)

    def _take(self, client: _Client, got: bytes) -> None:
        at = time.monotonic()
        data = client.rest + got if client.rest else got
        start = 0
        while (end := data.find(b"\n\n", start)) >= 0:
            if (found := SNAPSHOT.search(data, start, end)) is not None:
                number = int(found[1])
                client.times.append(at)
                client.numbers.append(number)
                self.snapshots += 1
                if number not in self.documents:
                    document = orjson.loads(data[found.end() : end])
                    self.documents[number] = document.get("as_of", {}).get("offsets") or document.get("at")
                    self.sizes[number] = end + 2 - found.start()
            start = end + 2
        client.rest = data[start:]


def crowd(inside: Inside, address: tuple[str, int], path: str, clients: int) -> dict[str, Any]:
    """Listen with so many clients until stopped. Ready when each has its first snapshot, or time is up."""
    raise_file_limit(clients + SPARE_FILES)
    request = f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nAccept: text/event-stream\r\n\r\n"
    group, began = _Crowd(inside), time.monotonic()
    for _ in range(clients):
        group.join(address, request.encode())
        group.look(0)
    connected = time.monotonic() - began
    deadline = time.monotonic() + FIRST_SECONDS
    while time.monotonic() < deadline and not all(client.times or client.rest for client in group.clients):
        group.look(0.1)
    inside.ready()
    while not inside.stopped():
        group.look(0.1)
    return {
        "receipts": [(client.times, client.numbers) for client in group.clients],
        "documents": group.documents,
        "frame_bytes": _middle(group.sizes),
        "bytes": group.bytes,
        "lost": group.lost,
        "connect_seconds": round(connected, 2),
    }


def _middle(sizes: Mapping[int, int]) -> int:
    ordered = sorted(sizes.values())
    return ordered[len(ordered) // 2] if ordered else 0

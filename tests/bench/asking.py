"""Requests over keep-alive connections on one selector: open-loop at a rate, or as fast as they are answered.

Runs in a worker. Open-loop a request's time starts when it was due, whether or not a connection was free to send it
then: a server that is slow for a while is not asked less for that, and each request that it made wait counts.
"""

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.figures import spread
from tests.bench.workers import Inside

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
RECEIVE = 1 << 18
SPARE_SECONDS = 5.0  # open-loop: for answers that are still to come when the last request was due


@dataclass(frozen=True)
class Plan:
    """`requests`, whole and as bytes, are asked in turn, `count` in all, `rate` a second (0: as fast as answered)."""

    address: tuple[str, int]
    requests: Sequence[bytes]
    count: int
    rate: float
    connections: int


def request(
    method: str, path: str, body: bytes | None = None, content_type: str = "application/json"
) -> bytes:
    """A request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body is not None:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


class _Connection:
    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._got, self._size = b"", 0

    def ask(self, what: bytes, due: float) -> None:
        self.due, self._got, self._size = due, b"", 0
        self.socket.sendall(what)

    def take(self) -> int | None:
        """The status once the answer is whole, else None."""
        got = self.socket.recv(RECEIVE)
        if not got:
            raise ConnectionError
        self._got = self._got + got if self._got else got
        if not self._size:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return None
            length = LENGTH.search(self._got, 0, end + 2)
            self._size = end + 4 + (int(length[1]) if length else 0)
        return int(self._got[9:12]) if len(self._got) >= self._size else None


def ask(inside: Inside, plan: Plan) -> dict[str, Any]:
    """Ask all; returns waits (ms) as a spread, statuses, how many were not answered in time, and when it ended."""
    selector = selectors.DefaultSelector()
    idle = [_Connection(plan.address) for _ in range(plan.connections)]
    for connection in idle:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    waits: list[float] = []
    statuses: Counter[str] = Counter()
    step = 1 / plan.rate if plan.rate else 0.0
    inside.ready()
    began = time.monotonic()
    last_due = began + plan.count * step if plan.rate else float("inf")
    asked = 0
    while len(waits) + statuses["lost"] < plan.count:
        now = time.monotonic()
        if now > last_due + SPARE_SECONDS:
            break
        while idle and asked < plan.count and (due := began + asked * step if step else now) <= now:
            idle.pop().ask(plan.requests[asked % len(plan.requests)], due)
            asked += 1
        coming = began + asked * step if idle and step and asked < plan.count else now + 0.1
        for key, _ in selector.select(max(0.0, coming - time.monotonic())):
            connection: _Connection = key.data
            try:
                status = connection.take()
            except OSError:
                statuses["lost"] += 1
                selector.unregister(connection.socket)
                connection.socket.close()
                connection = _Connection(plan.address)
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                idle.append(connection)
                continue
            if status is not None:
                waits.append((time.monotonic() - connection.due) * 1000)
                statuses[str(status)] += 1
                idle.append(connection)
        inside.show(len(waits))
    ended = time.monotonic()
    # Whoever is still waiting has waited so long at least.
    missing = plan.count - len(waits) - statuses["lost"]
    waits += ((ended - (began + n * step)) * 1000 for n in range(plan.count - missing, plan.count) if step)
    return {
        "waits_ms": spread(waits, 2),
        "statuses": dict(statuses),
        "missing": missing,
        "began": began,
        "ended": ended,
        "per_second": round((plan.count - missing) / (ended - began), 1),
    }

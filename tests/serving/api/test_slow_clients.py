"""A push client that does not read costs one connection's buffers, hears the newest when it reads again, and is cut
off when it never does."""

import re
import socket
import time

import pytest

from serving.api import clients
from tests.helpers import wait_for
from tests.serving.api.kit import listening, serving

REQUEST = b"GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POSITION = re.compile(rb"id: g1-(\d+)-[0-9a-f]{8}\nevent: snapshot\n")
SMALL = 4_096  # bytes that the kernel is asked to keep for whoever does not read


def stuck(api) -> socket.socket:
    """A client that has asked and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    client.connect(("127.0.0.1", api.settings.api_port))
    client.sendall(REQUEST)
    return client


def push(state, events, seconds: float) -> int:
    """Commits for a while, each seen by a client that reads; returns how many bytes of snapshots that made at least."""
    began, orders = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        state.order(1)
        orders += 1
        events.until("snapshot")
    return orders


def test_who_does_not_read_gets_the_newest_when_it_reads_again_and_no_backlog(api, state):
    for minute in range(60):
        state.order(1, 1_779_010_200 - 60 * minute)  # a snapshot of some size
    with stuck(api) as slow, listening(api) as events:
        wait_for(lambda: api.service.hub.clients == 2, what="two clients")
        events.until("snapshot")
        push(state, events, 5)
        pushed = api.service.hub.snapshots
        slow.settimeout(10)
        got = b""
        last = sum(state.fences.values())
        while b"id: g1-%d-" % last not in got:
            got += slow.recv(1 << 20)
    positions = [int(each) for each in POSITION.findall(got)]
    assert positions == sorted(set(positions))
    assert positions[-1] == last
    # What had gone into small buffers, and the newest.
    assert len(positions) < pushed / 2
    assert len(got) < 1_000_000


@pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system cannot drop stuck connections"
)
def test_who_never_reads_is_cut_off(world, state, monkeypatch):
    monkeypatch.setattr(clients, "STUCK_SECONDS", 1)
    for minute in range(60):
        state.order(1, 1_779_010_200 - 60 * minute)
    with serving(world) as api:
        api.wait_ready()
        with stuck(api), listening(api) as events:
            wait_for(lambda: api.service.hub.clients == 2, what="two clients")
            events.until("snapshot")
            deadline = time.monotonic() + 40
            while api.service.hub.clients == 2 and time.monotonic() < deadline:
                push(state, events, 0.5)
            assert api.service.hub.clients == 1

"""The board wakes everybody who waits, once for what is shown together, and never thousands in one go."""

import asyncio

import pytest

from serving.api.live.board import AT_ONCE, Board
from serving.api.live.client import REBUILDING, Client
from serving.api.live.frames import HEARTBEAT, RETRY, EventId, frame, parse_event_id, world_of

pytestmark = pytest.mark.anyio
WORLD = "0a1b2c3d"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Waits:
    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def show(board: Board, number: int) -> None:
    board.show_snapshot(EventId("g1", number, WORLD), {"n": number})


async def test_others_get_their_turn_between_some_readers_and_the_next():
    board, readers = Board(), [Waits() for _ in range(3 * AT_ONCE)]
    for reader in readers:
        board.wake_at_change(reader)
    show(board, 1)
    counts = []
    while (woken := sum(reader.woken for reader in readers)) < len(readers):
        counts.append(woken)
        await asyncio.sleep(0)
    assert counts == [0, AT_ONCE, 2 * AT_ONCE]
    assert all(reader.woken == 1 for reader in readers)


async def test_what_is_shown_in_one_wakes_once_and_goes_as_one():
    board = Board()
    client = Client(board, None)
    assert await client.next() == RETRY
    waiting = asyncio.create_task(client.next())
    await asyncio.sleep(0)
    with board.in_one():
        board.show_state("live", 1, {"s": 1})
        await asyncio.sleep(0)
        show(board, 1)
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == frame("state", {"s": 1}) + frame("snapshot", {"n": 1}, EventId("g1", 1, WORLD))


async def test_all_clients_share_the_bytes_of_a_snapshot():
    board = Board()
    clients = [Client(board, None) for _ in range(3)]
    for client in clients:
        await client.next()
    show(board, 1)
    frames = [await client.next() for client in clients]
    assert all(each is board.snapshot.frame for each in frames)


async def test_a_client_that_is_away_for_a_while_finds_only_the_newest():
    board = Board()
    client = Client(board, None)
    await client.next()
    for number in range(1, 100):
        show(board, number)
    assert await client.next() == frame("snapshot", {"n": 99}, EventId("g1", 99, WORLD))
    waiting = asyncio.create_task(client.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    show(board, 100)
    assert await waiting == frame("snapshot", {"n": 100}, EventId("g1", 100, WORLD))


async def test_who_goes_is_woken_no_more_and_ends():
    board, stays, goes = Board(), Waits(), Waits()
    board.wake_at_change(stays)
    board.wake_at_change(goes)
    board.forget(goes)
    show(board, 1)
    await asyncio.sleep(0)
    assert (stays.woken, goes.woken) == (1, 0)
    client = Client(board, EventId("g1", 1, WORLD))
    await client.next()
    waiting = asyncio.create_task(client.next())
    await asyncio.sleep(0)
    client.leave()
    assert await waiting is None


async def test_a_silent_client_that_is_woken_gets_a_heartbeat_and_everybody_ends_with_the_board(monkeypatch):
    board = Board()
    client = Client(board, None)
    await client.next()
    waiting = asyncio.create_task(client.next())
    await asyncio.sleep(0)
    monkeypatch.setattr("serving.api.live.client.HEARTBEAT_SECONDS", 0.0)
    client.wake()
    assert await waiting == HEARTBEAT
    monkeypatch.undo()
    waiting = asyncio.create_task(client.next())
    await asyncio.sleep(0)
    board.close()
    assert await waiting is None


async def test_who_saw_more_is_not_told_that_less_were_live():
    board = Board()
    client = Client(board, EventId("g1", 9, WORLD))
    await client.next()
    for number in (1, 2):
        with board.in_one():
            board.show_state("live", number, {"state": "live"})
            show(board, number)
        assert (client.due() == REBUILDING) is (number == 1)
    board.show_state("unavailable", 3, {"state": "unavailable"})
    assert client.due() == frame("state", {"state": "unavailable"})
    with board.in_one():
        board.show_state("live", 3, {"state": "live"})
        show(board, 3)
    assert client.due() == REBUILDING
    with board.in_one():
        board.show_state("live", 4, {"state": "live"})
        show(board, 9)
    assert client.due() == frame("state", {"state": "live"})


async def test_who_has_waited_is_told_of_the_numbers_that_there_are_and_not_of_earlier_ones():
    """While it is live, a snapshot says so itself, and the frame that said it first is of earlier numbers."""
    board = Board()
    board.show_state("live", 1, {"state": "live", "as_of": 1})
    waits, comes_again = (Client(board, EventId("g1", 9, WORLD)) for _ in range(2))
    await waits.next()
    for number in (1, 9):
        with board.in_one():
            board.state_is_told(number + 1)
            show(board, number)
        told = waits.due()
    assert told == frame("snapshot", {"n": 9}, EventId("g1", 9, WORLD))
    await comes_again.next()
    assert comes_again.due() == told


async def test_who_saw_more_of_other_topics_is_shown_what_there_is():
    """The same name and a lower position after a reset are no older state, but another one."""
    board = Board()
    client = Client(board, EventId("g1", 9, "ffffffff"))
    await client.next()
    show(board, 1)
    assert await client.next() == frame("snapshot", {"n": 1}, EventId("g1", 1, WORLD))


def test_topics_that_were_created_anew_have_another_mark():
    assert world_of(["a", "b"]) == world_of(["b", "a"]) != world_of(["a", "c"])
    assert parse_event_id(str(EventId("g1", 1, world_of(["a"])))) == EventId("g1", 1, world_of(["a"]))

"""Calls that wait at the same time go out as one, none waits for others to come, and each gets its own answer."""

import asyncio

import pytest

from serving.api.gathered import Gathered

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Slow:
    """Answers when it is let; a question below 0 fails by itself, a batch with 13 in it fails as a whole."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, asked):
        self.batches.append(list(asked))
        await self.gate.wait()
        if 13 in asked:
            raise OSError("all of it")
        return [ValueError(each) if each < 0 else each * 2 for each in asked]


async def asked(slow, *numbers, most=16, at_once=1):
    gathered = Gathered(slow, most, at_once)
    tasks = [asyncio.create_task(gathered.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_meanwhile_goes_together_afterwards():
    slow = Slow()
    tasks = await asked(slow, 1, 2, 3, 4)
    assert slow.batches == [[1]]
    slow.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert slow.batches == [[1], [2, 3, 4]]


async def test_no_more_go_together_than_allowed_and_so_many_calls_at_once():
    slow = Slow()
    tasks = await asked(slow, *range(8), most=3, at_once=2)
    assert slow.batches == [[0], [1]]
    slow.gate.set()
    assert await asyncio.gather(*tasks) == [2 * n for n in range(8)]
    assert sorted(map(len, slow.batches)) == [1, 1, 3, 3]


async def test_one_that_fails_fails_alone_and_a_call_that_fails_fails_for_all_in_it():
    slow = Slow()
    tasks = await asked(slow, 1, 2, -1, 3)
    slow.gate.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found[0], found[1], found[3]] == [2, 4, 6]
    assert isinstance(found[2], ValueError)
    slow.gate.clear()
    tasks = await asked(slow, 1, 13, 2)
    slow.gate.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found[0] == 2
    assert all(isinstance(each, OSError) for each in found[1:])


async def test_who_goes_away_takes_nobody_along():
    slow = Slow()
    first, second, third, fourth = await asked(slow, 1, 2, 3, 4)
    first.cancel()
    third.cancel()
    slow.gate.set()
    assert await asyncio.gather(second, fourth) == [4, 8]
    for gone in (first, third):
        with pytest.raises(asyncio.CancelledError):
            await gone

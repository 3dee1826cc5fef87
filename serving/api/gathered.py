"""Calls that wait at the same time go out as one: what a round trip costs is then shared by whoever asks meanwhile.

Nobody waits for others to come: a call goes out at once while fewer than `at_once` are under way. What is asked while
they are is sent afterwards, so each answer is of a moment after its question.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Got = TypeVar("Got")


class Gathered(Generic[Asked, Got]):
    """`together` answers up to `most` questions, in their order; one that failed by itself has its error there."""

    def __init__(
        self,
        together: Callable[[Sequence[Asked]], Awaitable[Sequence[Got | Exception]]],
        most: int,
        at_once: int = 2,
    ) -> None:
        self._together, self._most, self._at_once = together, most, at_once
        self._waiting: list[tuple[Asked, asyncio.Future[Got]]] = []
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, asked: Asked) -> Got:
        """The answer, or what it failed with."""
        if self._running < self._at_once and not self._waiting:
            self._running += 1
            try:
                (found,) = await self._together((asked,))
            finally:
                self._next()
            if isinstance(found, Exception):
                raise found
            return found
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        return await future

    def _next(self) -> None:
        """A call has ended: who waits is next."""
        self._running -= 1
        if self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self._running += 1
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[tuple[Asked, asyncio.Future[Got]]]) -> None:
        try:
            found = await self._together([asked for asked, _ in batch])
        except BaseException as error:
            found = [error] * len(batch)
            if not isinstance(error, Exception):
                raise
        finally:
            self._next()
            for (_, future), each in zip(batch, found, strict=True):
                # Who waited may have gone.
                if not future.done():
                    _settle(future, each)


def _settle(future: asyncio.Future[Got], found: Got | BaseException) -> None:
    if isinstance(found, asyncio.CancelledError):
        future.cancel()
    elif isinstance(found, BaseException):
        future.set_exception(found)
    else:
        future.set_result(found)

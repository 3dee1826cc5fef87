"""Blocking work beside the event loop, in threads that do not hold up the end of the process."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

Found = TypeVar("Found")


def in_thread(work: Callable[[], Found], ended: Callable[[], None], name: str) -> asyncio.Future[Found]:
    """What `work` returns or raises.

    `ended` is called in the loop when the work is over, which may be after nobody waits for it any more.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Found] = loop.create_future()

    def settle(found: Any, error: Exception | None) -> None:
        ended()
        if future.cancelled():
            return
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)

    def run() -> None:
        found, error = None, None
        try:
            found = work()
        except Exception as raised:  # noqa: BLE001 - whoever waits gets it
            error = raised
        # The loop may have ended meanwhile: then nobody waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, found, error)

    # A daemon: a service that hangs must not hold up the end of the process.
    threading.Thread(target=run, name=name, daemon=True).start()
    return future

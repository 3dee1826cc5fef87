"""Child processes of the benchmark, so that load and clients do not wait for each other's interpreter.

A worker's function gets `Inside` and its arguments, works until `inside.stopped()`, and returns what the parent reads.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from schemas.errors import DataflowError, Terminal

CONTEXT = multiprocessing.get_context("spawn")
START_SECONDS = 60.0


class BenchError(DataflowError, Terminal):
    """A measurement that could not be taken."""


def wait_until(condition: Callable[[], Any], timeout: float, what: str) -> Any:
    """Poll until `condition` returns something true, which is returned. Raises BenchError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise BenchError(f"expected {what} within {timeout:.0f} s; look at the logs in the state directory")


class Inside:
    """A worker's own view of itself. `count` is a number that the parent can watch."""

    def __init__(self, ready: Any, stop: Any, count: Any) -> None:
        self._ready, self._stop, self._count = ready, stop, count

    def ready(self) -> None:
        self._ready.set()

    def stopped(self) -> bool:
        return self._stop.is_set()

    def wait_for_stop(self) -> None:
        self._stop.wait()

    def show(self, count: int) -> None:
        self._count.value = count


class Worker:
    """Runs `function(inside, *arguments)` in a process of its own; a context manager that leaves none behind."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._ready, self._stop = CONTEXT.Event(), CONTEXT.Event()
        self._count = CONTEXT.Value("q", 0, lock=False)
        self._name = function.__name__
        self._pipe, theirs = CONTEXT.Pipe(duplex=False)
        inside = Inside(self._ready, self._stop, self._count)
        self._process = CONTEXT.Process(target=_work, args=(theirs, inside, function, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        wait_until(
            lambda: self._ready.is_set() or not self._process.is_alive(),
            START_SECONDS,
            f"{self._name} to start",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    @property
    def count(self) -> int:
        """What the worker showed last."""
        return self._count.value

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def stop(self) -> None:
        """Ask it to end; returns at once."""
        self._stop.set()

    def result(self, timeout: float = 60.0) -> Any:
        """What it returned. Raises BenchError with its traceback, or when it has not ended after `timeout` seconds."""
        try:
            answered = self._pipe.poll(timeout)
            done, value = self._pipe.recv() if answered else (False, f"no answer after {timeout:.0f} s")
        except EOFError:
            done, value = False, f"ended with {self._process.exitcode}"
        if not done:
            raise BenchError(f"{self._name} of the benchmark failed: {value}")
        return value


def _work(pipe: Any, inside: Inside, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        pipe.send((True, function(inside, *arguments)))
    except Exception:  # noqa: BLE001 - the parent raises it
        pipe.send((False, traceback.format_exc()))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)

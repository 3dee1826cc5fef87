"""What the readers of these tests have in common: they ask from a thread, as long as a test needs them."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import httpx


class Asking(ABC):
    """Looks every `pause` seconds, from a thread, and keeps in `faults` what was wrong with an answer."""

    def __init__(self, url: str, *, pause: float, timeout: float = 30.0) -> None:
        self.url, self.faults = url, []
        self._pause, self._timeout, self._stop = pause, timeout, threading.Event()

    @contextmanager
    def asking(self) -> Iterator[Self]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    @abstractmethod
    def look(self, http: httpx.Client) -> None:
        """Ask once."""

    def _run(self) -> None:
        try:
            with httpx.Client(base_url=self.url, timeout=self._timeout, trust_env=False) as http:
                while not self._stop.wait(self._pause):
                    self.look(http)
        except Exception as error:  # noqa: BLE001 a reader that stopped reading has seen nothing: that is a fault
            self.faults.append(f"the reader ended: {error!r}")

"""Waiting for a condition with a deadline, instead of sleeping for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 0.02


def wait_for(condition: Callable[[], T], timeout: float = 20.0, what: str = "the condition") -> T:
    """Poll until `condition` returns something true, which is returned; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(PAUSE_SECONDS)
    raise AssertionError(f"{what} did not come about within {timeout:.0f} s")

"""What tells a process from a later one of the same number. No clock that somebody may set takes part in it."""

import sys
from functools import cache
from pathlib import Path

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def birth(pid: int | None = None) -> str:
    """Of this process if none is named. Raises psutil.NoSuchProcess."""
    started = psutil.Process(pid).create_time()
    if sys.platform != "linux":
        return f"{started:.2f}"
    # Both move with the clock; what is between them does not.
    return f"{_boot()}+{started - psutil.boot_time():.2f}"


@cache
def _boot() -> str:
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""

"""The API and the bare no-op side by side: where each listens and what each uses."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

from tests.bench.noop import noop
from tests.bench.stage import Stage
from tests.bench.workers import Worker

Address = tuple[str, int]


def address_of(stage: Stage) -> Address:
    """Where the API listens."""
    url = httpx.URL(stage.url)
    return url.host, url.port


@contextmanager
def noop_of(stage: Stage, frame_bytes: int = 0, frames: float = 0) -> Iterator[tuple[Address, list[int]]]:
    """A no-op server of its own: its address and its processes."""
    with Worker(noop, stage.settings, frame_bytes, frames) as server:
        yield ("127.0.0.1", server.count), [server.pid]


@contextmanager
def used(pids: list[int]) -> Iterator[dict[str, float]]:
    """CPU seconds, seconds and memory (MB, at the end) of processes within the block; filled in at its end."""
    found: dict[str, float] = {}
    watched = [psutil.Process(pid) for pid in pids]
    before, began = sum(sum(p.cpu_times()[:2]) for p in watched), time.monotonic()
    yield found
    found["cpu_s"] = round(sum(sum(p.cpu_times()[:2]) for p in watched) - before, 2)
    found["seconds"] = round(time.monotonic() - began, 3)
    found["cpu_percent"] = round(found["cpu_s"] / max(found["seconds"], 0.001) * 100, 1)
    found["rss_mb"] = round(sum(p.memory_info().rss for p in watched) / 2**20)

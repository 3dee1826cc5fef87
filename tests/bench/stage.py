"""Where a part of the benchmark plays: a fresh platform, its figures over REST, and what its processes use."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from infra.kafka import admin, log_bounds
from infra.runtime.platform import LIVE, Platform
from infra.runtime.spec import State
from infra.settings import Settings
from schemas.topics import SOURCE_TOPICS
from tests.bench.load import prepare, produce
from tests.bench.workers import Worker, wait_until
from tests.helpers import isolated_settings

COUNT_SECONDS = 900.0
FIRST_RECORDS, FIRST_SECONDS = 500, 300.0
SEED = 1


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark: `quick` means shorter and smaller, to see that it works."""

    directory: Path
    quick: bool

    def pick(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def settings(self, part: str) -> Settings:
        """Settings of a fresh environment, as a user has them who has set nothing."""
        return isolated_settings(self.directory / part, dataflow_env="bench")

    @contextmanager
    def stage(self, part: str) -> Iterator["Stage"]:
        """A fresh platform that has counted its first records.

        The live job is ready as soon as its query has been started, which is some time before its first verdict.
        """
        with Platform(self.settings(part), LIVE, preferred_ports=False) as platform, Stage(platform) as stage:
            file = prepare(stage.settings, stage.directory / "first", FIRST_RECORDS, FIRST_RECORDS, SEED)
            with Worker(produce, stage.settings, file, FIRST_RECORDS, 5, False) as load:
                load.result()
            stage.await_counted(FIRST_RECORDS, FIRST_SECONDS)
            yield stage


class Stage:
    """A running platform, and a client of it."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.settings, self.url = platform, platform.settings, platform.url
        self.directory = platform.settings.state_dir
        self._http = httpx.Client(base_url=platform.url or "", timeout=30, trust_env=False)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def get(self, path: str) -> dict[str, Any] | None:
        """The answer's document; None unless it is 200."""
        try:
            answer = self._http.get(path)
            return answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None

    def position(self) -> int:
        """How many records are counted; -1 while nobody answers."""
        answer = self.get("/v1/freshness")
        return -1 if answer is None else answer["as_of"]["position"]

    def produced(self) -> int:
        """How many records the source topics hold."""
        places = [
            (self.settings.topic_prefix + t, p)
            for t in SOURCE_TOPICS
            for p in range(self.settings.kafka_partitions)
        ]
        return sum(log_bounds(admin(self.settings.kafka_bootstrap_servers), places)[1].values())

    def await_counted(self, records: int | None = None, timeout: float = COUNT_SECONDS) -> float:
        """Wait until so many records are counted (None: all that there are); returns when, on the monotonic clock."""
        wanted = self.produced() if records is None else records
        wait_until(lambda: self.position() >= wanted, timeout, f"{wanted:,} records counted")
        return time.monotonic()

    @contextmanager
    def usage(self) -> Iterator[dict[str, dict[str, float]]]:
        """CPU of each process within the block, and its memory at the end; filled in when the block ends."""
        found: dict[str, dict[str, float]] = {}
        before, began = self._cpu_seconds(), time.monotonic()
        yield found
        after, seconds = self._cpu_seconds(), time.monotonic() - began
        for name, used in after.items():
            percent = round((used - before.get(name, 0.0)) / seconds * 100, 1)
            found[name] = {"cpu_percent": percent, "rss_mb": round(self._memory(name) / 2**20)}

    def _names(self) -> list[str]:
        return [info.name for info in self.platform.supervisor.processes() if info.state is State.READY]

    def _cpu_seconds(self) -> dict[str, float]:
        return {
            name: sum(sum(p.cpu_times()[:2]) for p in processes(self.platform, name))
            for name in self._names()
        }

    def _memory(self, name: str) -> int:
        return sum(p.memory_info().rss for p in processes(self.platform, name))


def processes(platform: Platform, name: str) -> list[psutil.Process]:
    """A process of the platform and all that it has started."""
    found = []
    for pid in platform.pids(name):
        try:
            found.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return found

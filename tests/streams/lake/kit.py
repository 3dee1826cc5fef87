"""What the lake's tests share: the lake job as a process over a shop's records, and what its tables say."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from dataflow.difference_text import lines
from infra.generation import current_generation, source_bounds
from infra.runtime import jobs
from infra.runtime.child import Child, Watchdog, signal_group
from infra.runtime.platform import ROOT
from infra.settings import Settings
from infra.setup import find_java
from replay.verify.report import documents
from replay.verify.verify import Verdict, newest_manifest, verify
from streams.lake.manifest import Manifest
from tests.helpers import wait_for

START_SECONDS = 180
SETTLE_SECONDS = 180


class LakeProcess:
    """The lake job as the supervisor would start it; a context manager that leaves nothing behind."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generation = current_generation(settings)
        self.log_file: Path = settings.state_dir / "lake.log"
        self._watchdog = Watchdog()
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._child and self._child.poll() is None:
            self.kill()
        self._watchdog.close()

    def launch(self) -> None:
        """Start the process and do not wait."""
        spec = jobs.lake_spec(self.settings, find_java(self.settings.java_home))
        env = {**os.environ, **spec.env, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._child = Child(spec, env, self.log_file, self._watchdog)

    def poll(self) -> int | None:
        return self._child.poll()

    def kill(self) -> None:
        signal_group(self._child.pid, signal.SIGKILL)
        wait_for(lambda: self._child.poll() is not None, 20, "the end of the killed job")

    def stop(self) -> None:
        """An orderly end."""
        signal_group(self._child.pid, signal.SIGTERM)
        wait_for(lambda: self._child.poll() is not None, 60, "the end of the job")

    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")[-4_000:] if self.log_file.exists() else ""

    def manifest(self) -> Manifest | None:
        return newest_manifest(self.settings, self.generation.name)

    def settle(self, timeout: float = SETTLE_SECONDS, restart: bool = False) -> Manifest:
        """Wait until everything that is in the topics now is in the lake."""
        _, end = source_bounds(self.settings, self.generation)

        def there() -> Manifest | None:
            if self._child.poll() is not None:
                assert restart, f"the job ended with {self._child.poll()}:\n{self.log()}"
                self.launch()
            found = self.manifest()
            return found if found and all(found.until.get(place, 0) >= end[place] for place in end) else None

        return wait_for(there, timeout, f"the lake at {sum(end.values())} records")


def verified(settings: Settings) -> Verdict:
    """The second computation's verdict; the test fails with the differences if there are any."""
    verdict = verify(settings)
    told = [line for each in documents(verdict.differences) if not each["equal"] for line in lines(each)]
    assert verdict.exact, "\n".join(told)
    return verdict


def bootstrap(settings: Settings) -> None:
    """Topics, schemas and a generation."""
    subprocess.run(
        [sys.executable, "-m", "infra.bootstrap"],
        check=True,
        cwd=ROOT,
        env={**os.environ, **settings.environ()},
    )

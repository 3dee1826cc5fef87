"""Failpoints: a test names a place in the code, and the process that gets there kills itself with SIGKILL, once.

Reads the setting DATAFLOW_FAILPOINT; writes `{state_dir}/failpoints/<name>` just before the kill. The process that is
started again finds that marker and goes on, and a test that expects a kill asserts that it exists.
"""

import os
import signal

from infra.settings import Settings


class Failpoints:
    """The failpoints of one process; at most one is set. Handed in where there is something to hit."""

    def __init__(self, settings: Settings) -> None:
        name, _, count = (settings.dataflow_failpoint or "").partition(":")
        self._name, self._left = name, int(count or 1)
        self._marker = settings.state_dir / "failpoints" / name

    def hit(self, name: str) -> None:
        """Kill this process if `name` is set, this is the hit that it asks for, and it has killed nobody yet."""
        if name != self._name:
            return
        self._left -= 1
        if self._left or self._marker.exists():
            return
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        # The marker must outlive the kill, or the next process would kill itself too.
        with self._marker.open("w", encoding="utf-8") as out:
            out.write(f"{os.getpid()}\n")
            out.flush()
            os.fsync(out.fileno())
        os.kill(os.getpid(), signal.SIGKILL)

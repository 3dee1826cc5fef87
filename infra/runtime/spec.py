"""What the supervisor knows about a process, its name among it: values, no behaviour."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


def suffix(generation: str) -> str:
    """What ends the names of the processes that serve this generation beside the one that the platform began with."""
    return f"@{generation}"


class State(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"
    "Not started: something it needs is not ready."
    STARTING = "starting"
    "Runs, but its probe has not answered yet."
    READY = "ready"
    "Runs, and its probe answered after the start."
    DONE = "done"
    "A task that ended well; tasks are not started again."
    BACKOFF = "backoff"
    "Ended or never became ready; starts again after a pause."
    FAILED = "failed"
    "Ended in a way that a restart cannot mend; the log says why."
    STOPPED = "stopped"
    "Stopped on purpose."


@dataclass(frozen=True)
class ProcessSpec:
    """One child process. Times are seconds.

    `probe` returns True once the process serves; it is called from a worker thread, must return within a few seconds,
    and gets the number of the process. A task has none: it is done when it ends with 0.
    `fds` are file descriptors of the supervisor that it inherits under the same numbers.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    after: tuple[str, ...] = ()
    probe: Callable[[int], bool] | None = None
    port: int | None = None
    start_deadline: float = 60.0
    stop_deadline: float = 10.0
    fds: tuple[int, ...] = ()
    # Variables that are only known when it starts, called in a thread; what it raises is tried again like an end.
    late_env: Callable[[], Mapping[str, str]] = dict
    # Asked while it runs: 0 to 19, the more the less it gets beside others where all want the processor.
    niceness: Callable[[], int] = int

    @property
    def is_task(self) -> bool:
        """Whether it runs once to its end."""
        return self.probe is None

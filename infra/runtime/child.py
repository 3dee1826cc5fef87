"""A started child process and its process group: spawn, ask, signal. Also the watchdog beside the supervisor.

Every child leads a session and process group of its own, so that a Ctrl-C in the terminal reaches the supervisor alone
and a signal to the group reaches grandchildren too.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from infra.runtime.birth import birth
from infra.runtime.spec import ProcessSpec

HERE = Path(__file__).parent
BARE_PYTHON = (sys.executable, "-I", "-S")


class Watchdog:
    """The process that kills the groups it was told of when this process ends without stopping them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*BARE_PYTHON, str(HERE / "watchdog.py")],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def guard(self, group: int) -> None:
        """Kill this group if this process dies."""
        self._tell(f"+ {group}\n")

    def release(self, group: int) -> None:
        """The group is gone; its number may soon belong to somebody else."""
        self._tell(f"- {group}\n")

    def close(self) -> None:
        """End the watchdog; all groups have been released."""
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        # A watchdog that somebody killed must not take the supervisor with it: the kernel's signal is still there.
        with suppress(OSError):
            self._process.stdin.write(line)
            self._process.stdin.flush()


class Child:
    """One running child. Create it in the thread that stays: the kernel kills the child when that thread ends."""

    def __init__(self, spec: ProcessSpec, env: Mapping[str, str], log: Path, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        with log.open("ab") as output:
            output.write(f"--- {spec.name}: started {time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n".encode())
            output.flush()
            self._process = subprocess.Popen(
                [*BARE_PYTHON, str(HERE / "exec_child.py"), str(os.getpid()), *spec.command],
                env=env,
                cwd=spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=spec.fds,
            )
        self.pid = self._process.pid
        watchdog.guard(self.pid)
        try:
            self.birth: str | None = birth(self.pid)
        except psutil.NoSuchProcess:
            self.birth = None
        except BaseException:
            self.kill()  # nobody would know of it
            self.forget()
            raise

    def poll(self) -> int | None:
        """The exit status (negative: the signal), None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask the process itself to end; what it started is its own to end."""
        self._process.terminate()

    def kill(self) -> int:
        """SIGKILL for the whole group; returns the exit status."""
        signal_group(self.pid, signal.SIGKILL)
        return self._process.wait()

    def forget(self) -> None:
        """The group is gone."""
        self._watchdog.release(self.pid)


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal every process of the group, if there is one."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def group_members(group: int) -> list[int]:
    """The live processes of a group. A zombie is none: where process 1 does not reap, orphans stay for ever."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return []
    return [process.pid for process in _live_processes() if _group_of(process.pid) == group]


def _live_processes() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None

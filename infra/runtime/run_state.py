"""What is known about a run from outside: `{state_dir}/run.json`, its supervisor's lock, leftovers of a killed one.

One supervisor holds `{state_dir}/lock` and writes run.json; everybody may read it.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from infra.runtime.birth import birth
from infra.runtime.child import signal_group
from infra.runtime.errors import AlreadyRunning, NotRunning
from infra.runtime.spec import State, suffix
from infra.runtime.unit import ProcessInfo
from infra.settings import Settings

# In the environment of every process of a run, and so of everything that these start.
RUN_VARIABLE = "DATAFLOW_RUN"
NAME = "run.json"
BOUND = ("live", "materializer", "api", "lake", "verifier")  # each serves one generation
IN_VAIN = 8  # failures of a process, one after the other
QUERIES_IN_VAIN = 5  # of a Spark job, one after the other, within one process
EPOCH = "epoch "
# What a run decides and every command needs: the addresses of what is embedded.
SERVICE_ADDRESSES = ("kafka_bootstrap_servers", "kafka_schema_registry", "redis_host")
ADDRESSES = (*SERVICE_ADDRESSES, "redis_port", "api_host", "api_port")


# What tells a supervising process to start again what had failed for good.
START_FAILED = signal.SIGUSR1


@dataclass(frozen=True)
class Run:
    """A run as run.json tells it. `addresses` are values of Settings.

    `serves`: the generation of those processes that are not named after one. `code`: digest of what the platform runs.
    """

    run: str
    pid: int
    birth: str
    env: str
    started: float
    url: str | None
    addresses: dict[str, str | int | None]
    processes: list[dict]
    serves: int | None = None
    code: str | None = None

    def is_alive(self) -> bool:
        """Whether its supervisor still runs."""
        return _same_process(self.pid, self.birth)


def write_run(state_dir: Path, run: Run) -> None:
    """Replace run.json in one step."""
    draft = state_dir / f"{NAME}.draft"
    draft.write_text(json.dumps(asdict(run), indent=2))
    draft.replace(state_dir / NAME)


def read_run(state_dir: Path) -> Run | None:
    """The last run of this state directory, alive or not."""
    try:
        found = json.loads((state_dir / NAME).read_text())
        for each in (found, *found["processes"]):
            _with_birth(each)
        return Run(**found)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def failed(state_dir: Path, generation: str) -> list[str]:
    """The processes of a generation that have failed for good."""
    return [row["name"] for row in _rows_of(state_dir, generation) if row["state"] == State.FAILED]


def failing(state_dir: Path, generation: str) -> list[str]:
    """The processes of a generation that have failed for good, or begin again and again: they or their query."""
    return [
        row["name"]
        for row in _rows_of(state_dir, generation)
        if (
            row["state"] == State.FAILED
            or (row["state"] == State.BACKOFF and row.get("failures", 0) >= IN_VAIN)
            or (row["state"] == State.READY and _queries_failed(state_dir, row) >= QUERIES_IN_VAIN)
        )
    ]


def unsteady(state_dir: Path, generation: str) -> dict[str, int]:
    """Those that have failed and begin again just now, they or their query, and how often in a row."""
    found = {
        row["name"]: _queries_failed(state_dir, row)
        if row["state"] == State.READY
        else row.get("failures", 0)
        for row in _rows_of(state_dir, generation)
        if row["state"] in (State.BACKOFF, State.STARTING, State.READY)
    }
    return {name: times for name, times in found.items() if times}


def _rows_of(state_dir: Path, generation: str) -> list[dict]:
    run = read_run(state_dir)
    if run is None or not run.is_alive():
        return []
    first = BOUND if f"g{run.serves}" == generation else ()
    return [row for row in run.processes if row["name"].endswith(suffix(generation)) or row["name"] in first]


def _queries_failed(state_dir: Path, row: dict) -> int:
    """How many of a process's queries have failed one after the other, by its own word; 0 if it says nothing."""
    try:
        status = json.loads((state_dir / "status" / f"{row['name']}.json").read_text("utf-8"))
        return status.get("failures", 0) if status["pid"] == row["pid"] else 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def running_settings(settings: Settings, needs: tuple[str, ...] = SERVICE_ADDRESSES) -> Settings:
    """`settings` with the addresses of what runs embedded.

    Raises NotRunning when one of the addresses that the caller `needs` is neither set nor running.
    """
    run = read_run(settings.state_dir)
    if run and run.is_alive():
        settings = settings.replace(**run.addresses)
    missing = [name.upper() for name in needs if not getattr(settings, name)]
    if missing:
        raise NotRunning(
            f"environment {settings.dataflow_env!r} does not run (state directory {settings.state_dir}). Start it "
            f"with `dataflow up --env {settings.dataflow_env}`, or set {', '.join(missing)} to services that run."
        )
    return settings


@contextmanager
def supervisor_lock(state_dir: Path) -> Iterator[None]:
    """Be the one supervisor of this state directory. Raises AlreadyRunning that names the other one."""
    state_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            run = read_run(state_dir)
            who = (
                f"process {run.pid} since {time.ctime(run.started)}, {run.url or 'no URL yet'}"
                if run
                else "starting"
            )
            raise AlreadyRunning(
                f"this environment runs already ({who}; state directory {state_dir}). Use it, stop it first, or take "
                "another one with --env NAME."
            ) from None
        yield
    finally:
        os.close(handle)


def kill_leftovers(state_dir: Path, deadline: float = 10.0) -> list[int]:
    """Kill what a killed supervisor left running, and wait until it is gone; returns the process ids.

    Call it with the lock held. Processes are known by number and birth, or by the run's id in their environment.
    """
    run = read_run(state_dir)
    if run is None:
        return []
    victims = [p for p in psutil.process_iter() if p.pid != os.getpid() and _belongs_to(p, run)]
    for process in victims:
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == process.pid:
                signal_group(process.pid, signal.SIGKILL)
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(victims, timeout=deadline)
    return [process.pid for process in victims]


def as_rows(processes: list[ProcessInfo]) -> list[dict]:
    """Processes in the form of run.json."""
    return [asdict(info) for info in processes]


def _belongs_to(process: psutil.Process, run: Run) -> bool:
    if any(row["pid"] == process.pid and _same_process(process.pid, row["birth"]) for row in run.processes):
        return True
    try:
        if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get(RUN_VARIABLE) == run.run
    except (psutil.Error, OSError):
        return False


def _with_birth(process: dict[str, Any]) -> None:
    """DataFlow before this one wrote epoch seconds, and may still run."""
    started = process.pop("create_time", None)
    process.setdefault("birth", None if started is None else f"{EPOCH}{started}")


def _same_process(pid: int, born: str | None) -> bool:
    try:
        process = psutil.Process(pid)
        if born is not None and born.startswith(EPOCH):
            same = abs(process.create_time() - float(born.removeprefix(EPOCH))) < 1
        else:
            same = birth(pid) == born
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

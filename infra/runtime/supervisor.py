"""The supervisor: starts processes as soon as what they need is ready, restarts what ends, stops all in reverse order.

One thread (`run`) owns every child; the methods may be called from any other thread. Calls `on_change` with the
processes after each change. Of the libraries, supervisord, circus and honcho know neither readiness nor "after",
and those that do are services of the operating system or programs in Go: so it is written here, small.
"""

import logging
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from infra.entry import EXIT_TERMINAL
from infra.runtime.child import Child, Watchdog, group_members, signal_group
from infra.runtime.errors import StartFailed, SupervisionEnded
from infra.runtime.logs import Logs
from infra.runtime.spec import ProcessSpec, State
from schemas.errors import DataflowError, Unavailable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
STABLE_S = 60.0
KILLED_WITHIN_S = 30.0
BUSY_TICK_S, IDLE_TICK_S, ROTATE_EVERY_S = 0.03, 0.1, 5.0
OWN_LOG = "supervisor"
UP = (State.READY, State.DONE)
SETTLED = (*UP, State.FAILED, State.STOPPED)

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessInfo:
    """What others may know about a process. `since` is the epoch second of the last change of state.

    `failures` are those in a row, without a stable time between, as of that change.
    """

    name: str
    state: State
    pid: int | None
    birth: str | None
    port: int | None
    restarts: int
    since: float
    failures: int = 0


class _Unit:
    """A process in the supervisor's hands; only its thread touches it."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.child: Child | None = None
        self.info = ProcessInfo(spec.name, State.WAITING, None, None, spec.port, 0, time.time())
        self.held = False  # stopped on purpose until somebody starts it again
        self.failures = 0  # in a row, without a stable time between
        self.not_before = 0.0
        self.deadline = 0.0  # of the start, or once `ending` of the stop
        self.ready_at = 0.0
        self.ending = False
        self.orphans_told = False
        self.probe: tuple[Child, Future[bool]] | None = None
        self.asked: Future[Mapping[str, str]] | None = None  # for what it starts with; that may take a while


def _ask(function: Callable[[], T]) -> "Future[T]":
    """Call it in a thread of its own, that the end of this process does not wait for."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 it belongs to who asked, whatever it is
            future.set_exception(error)

    threading.Thread(target=run, name="ask", daemon=True).start()
    return future


def _running(infos: Iterable[ProcessInfo], names: Sequence[str]) -> list[str]:
    return [info.name for info in infos if info.name in names and info.pid is not None]


class Supervisor:
    """Runs `specs` until `stop`. `env` is the whole environment that every child's own is laid over."""

    def __init__(
        self,
        specs: Iterable[ProcessSpec],
        env: Mapping[str, str],
        logs: Logs,
        on_change: Callable[[list[ProcessInfo]], None] = lambda _: None,
        log: logging.Logger | None = None,
    ) -> None:
        self._units = {spec.name: _Unit(spec) for spec in specs}
        self._env, self._logs, self._on_change = dict(env), logs, on_change
        self._log = log or logging.getLogger("dataflow.supervisor")
        self._needed_by = {name: self._dependents(name) for name in self._units}
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], Future]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._stopping = False
        self._hurried = False
        self._failure: BaseException | None = None
        self._unrotated: set[str] = set()
        self._published: list[ProcessInfo] = [unit.info for unit in self._units.values()]

    # --- for other threads

    def processes(self) -> list[ProcessInfo]:
        """Every process as it is now."""
        with self._changed:
            return list(self._published)

    def process(self, name: str) -> ProcessInfo:
        """One process as it is now."""
        return next(info for info in self.processes() if info.name == name)

    def wait(self, condition: Callable[[list[ProcessInfo]], bool], timeout: float) -> bool:
        """Wait until `condition` holds for the processes; False after `timeout` seconds.

        Raises SupervisionEnded if `run` has failed: then nothing changes any more.
        """
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._failure is not None or condition(self._published), timeout
            )
        self.check()
        return found

    def check(self) -> None:
        """Raise SupervisionEnded if `run` has failed."""
        if self._failure is not None:
            raise SupervisionEnded(
                f"the supervisor failed and stopped every process: {self._failure!r}. See "
                f"{self._logs.path(OWN_LOG)}, then start again"
            ) from self._failure

    def wait_ready(self, names: Iterable[str], timeout: float, max_restarts: float = math.inf) -> None:
        """Wait until all of `names` are ready.

        Raises StartFailed at once when one of them, or one that they need, has failed for good, or one of `names` was
        restarted more than `max_restarts` times; else after `timeout` seconds.
        """
        names = set(names)
        needed = names.union(*(self._needs(name) for name in names))

        def given_up(info: ProcessInfo) -> bool:
            in_vain = info.name in names and info.state not in UP and info.restarts > max_restarts
            return in_vain or (info.name in needed and info.state is State.FAILED)

        def settled(infos: list[ProcessInfo]) -> bool:
            return any(map(given_up, infos)) or all(info.state in UP for info in infos if info.name in names)

        self.wait(settled, timeout)
        infos = self.processes()
        late = [info for info in infos if info.name in names and info.state not in UP]
        # What waits does so because of something else, which says more.
        late.sort(key=lambda info: info.state is State.WAITING)
        if guilty := [info for info in infos if given_up(info)] + late:
            info = guilty[0]
            raise StartFailed(
                f"{info.name} did not become ready: it is in state {info.state!s} after {info.restarts} restarts. "
                f"The end of {self._logs.path(info.name)}:\n{self._logs.tail(info.name)}"
            )

    def stop_process(self, *names: str) -> None:
        """Stop processes in an orderly way, all at once, and leave them stopped; returns when they have ended.

        Raises Unavailable if one does not end, SIGKILL after its deadline included.
        """
        patience = self._call(lambda: max(self._hold(self._units[name]) for name in names)) + KILLED_WITHIN_S
        if not self.wait(lambda infos: not _running(infos, names), patience):
            left = ", ".join(_running(self.processes(), names))
            raise Unavailable(f"{left} did not end within {patience:.0f} s")

    def start_process(self, name: str) -> None:
        """Let a stopped or failed process run again; returns at once."""
        self._call(lambda: self._let_go(self._units[name]))

    def add(self, spec: ProcessSpec) -> None:
        """Supervise one process more, unless there is one of that name."""
        self._call(lambda: self._take_in(spec))

    def remove(self, *names: str) -> None:
        """Stop processes in an orderly way, all at once, and forget them: those that there are. Raises Unavailable."""
        if there := self._call(lambda: [name for name in names if name in self._units]):
            self.stop_process(*there)
            self._call(lambda: self._forget(there))

    def kill(self, name: str) -> None:
        """SIGKILL for the process and all it started, as a crash would; it is then restarted."""
        self._call(lambda: self._kill(self._units[name]))

    def pids(self, name: str) -> list[int]:
        """The process and everything it started."""
        pid = self.process(name).pid
        return group_members(pid) if pid else []

    def stop(self) -> None:
        """Ask `run` to stop every process and return; returns at once."""
        self._stopping = True

    def hurry(self) -> None:
        """Do not wait any longer for what is still stopping."""
        self._hurried = True

    # --- the thread that owns the children

    def run(self) -> None:
        """Supervise until `stop`; when this returns, no child is left. What it fails of, `check` raises."""
        try:
            self._supervise()
        except BaseException as error:  # noqa: BLE001 whatever it is, those who wait must hear of it
            self._log.exception("supervision has ended")
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _supervise(self) -> None:
        watchdog, rotate_at = Watchdog(), 0.0
        with ThreadPoolExecutor(4, "probe") as self._probers:
            try:
                while not (self._stopping and not any(unit.child for unit in self._units.values())):
                    self._serve_calls()
                    now = time.monotonic()
                    for unit in self._units.values():
                        self._watch(unit, now) if unit.child else self._perhaps_start(unit, now, watchdog)
                    if now >= rotate_at:
                        rotate_at = now + ROTATE_EVERY_S
                        for name in (*self._units, OWN_LOG):
                            self._rotate(name)
            finally:
                for unit in self._units.values():
                    if unit.child:
                        unit.child.kill()
                        unit.child.forget()
                watchdog.close()

    def _rotate(self, name: str) -> None:
        try:
            self._logs.rotate(name)
            self._unrotated.discard(name)
        except OSError as error:
            # Once: this is tried again every few seconds, and the disk may be full.
            if name not in self._unrotated:
                self._unrotated.add(name)
                self._log.error("the log of %s cannot be rotated: %s", name, error)

    def _call(self, function: Callable[[], T]) -> T:
        future: Future = Future()
        self._calls.put((function, future))
        return future.result(30)

    def _serve_calls(self) -> None:
        settled = all(unit.info.state in SETTLED for unit in self._units.values())
        try:
            function, future = self._calls.get(timeout=IDLE_TICK_S if settled else BUSY_TICK_S)
        except queue.Empty:
            return
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 it belongs to the caller, whatever it is
            future.set_exception(error)

    def _perhaps_start(self, unit: _Unit, now: float, watchdog: Watchdog) -> None:
        if unit.info.state in SETTLED:
            return
        if self._stopping:
            self._set(unit, State.STOPPED)
            return
        if unit.held or now < unit.not_before:
            return
        if any(self._units[name].info.state not in UP for name in unit.spec.after if name in self._units):
            return
        try:
            if unit.asked is None:
                unit.asked = _ask(unit.spec.late_env)
            if not unit.asked.done():
                return
            asked, unit.asked = unit.asked, None
            env = {**self._env, **unit.spec.env, **asked.result()}
            unit.child = Child(unit.spec, env, self._logs.path(unit.spec.name), watchdog)
        except Exception as error:  # noqa: BLE001 what runs stays supervised, whatever keeps this one from starting
            if not isinstance(error, OSError | DataflowError):
                self._log.exception("%s cannot be started", unit.spec.name)
            else:
                self._log.error("%s cannot be started: %s", unit.spec.name, error)
            self._logs.note(unit.spec.name, f"cannot be started: {error}")
            self._back_off(unit, now)
            return
        unit.ending, unit.probe, unit.deadline = False, None, now + unit.spec.start_deadline
        self._set(unit, State.STARTING, pid=unit.child.pid, birth=unit.child.birth)

    def _watch(self, unit: _Unit, now: float) -> None:
        status = unit.child.poll()
        if unit.ending:
            # Its own children get the same time to end: Spark's JVM closes its files.
            left = status is None or bool(group_members(unit.child.pid))
            if status is not None and left and not unit.orphans_told:
                unit.orphans_told = True
                signal_group(unit.child.pid, signal.SIGTERM)
            if not left or now >= unit.deadline or self._hurried:
                unit.child.kill()
                self._ended(unit)
                self._set(unit, State.STOPPED if unit.held or self._stopping else State.WAITING)
        elif status is not None:
            unit.child.kill()
            self._ended(unit)
            self._judge_end(unit, status, now)
        elif unit.held or (
            self._stopping and not any(self._units[name].child for name in self._needed_by[unit.spec.name])
        ):
            unit.ending, unit.orphans_told, unit.deadline = True, False, now + unit.spec.stop_deadline
            unit.child.terminate()
        elif unit.info.state is State.STARTING:
            self._probe(unit, now)
        elif unit.failures and now - unit.ready_at >= STABLE_S:
            unit.failures = 0

    def _probe(self, unit: _Unit, now: float) -> None:
        if unit.spec.probe and unit.probe is None:
            unit.probe = (unit.child, self._probers.submit(unit.spec.probe, unit.child.pid))
        if unit.probe and unit.probe[1].done():
            answer, unit.probe = unit.probe[1].result(), None
            if answer:
                unit.ready_at = now
                self._set(unit, State.READY)
                return
        if now >= unit.deadline:
            self._log.error("%s was not ready after %.0f s", unit.spec.name, unit.spec.start_deadline)
            unit.child.kill()
            self._ended(unit)
            self._back_off(unit, now)

    def _judge_end(self, unit: _Unit, status: int, now: float) -> None:
        if unit.spec.is_task and status == 0:
            self._set(unit, State.DONE)
        elif self._stopping or unit.held:
            self._set(unit, State.STOPPED)
        elif status == EXIT_TERMINAL:
            self._log.error(
                "%s ended with %d: a restart does not mend that, see its log", unit.spec.name, status
            )
            self._set(unit, State.FAILED)
        else:
            self._log.warning("%s ended with %d", unit.spec.name, status)
            self._back_off(unit, now)

    def _back_off(self, unit: _Unit, now: float) -> None:
        unit.not_before = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**unit.failures)
        unit.failures += 1
        self._set(unit, State.BACKOFF, restarts=unit.info.restarts + 1)

    def _ended(self, unit: _Unit) -> None:
        unit.child.forget()
        unit.child, unit.probe = None, None

    def _take_in(self, spec: ProcessSpec) -> None:
        if spec.name not in self._units:
            self._units[spec.name] = _Unit(spec)
            self._learn()

    def _forget(self, names: Sequence[str]) -> None:
        if again := [name for name in names if self._units[name].child is not None]:
            raise Unavailable(f"{', '.join(again)} has been started again")
        for name in names:
            del self._units[name]
        self._learn()

    def _learn(self) -> None:
        """There are other processes than before."""
        self._needed_by = {name: self._dependents(name) for name in self._units}
        self._tell()

    def _hold(self, unit: _Unit) -> float:
        """Returns how many seconds it may take to end."""
        unit.held, unit.asked = True, None
        if unit.child is None:
            self._set(unit, State.STOPPED)
        return unit.spec.stop_deadline

    def _let_go(self, unit: _Unit) -> None:
        unit.held, unit.failures, unit.not_before, unit.asked = False, 0, 0.0, None
        if unit.child is None:
            self._set(unit, State.WAITING)

    def _kill(self, unit: _Unit) -> None:
        if unit.child:
            status = unit.child.kill()
            self._ended(unit)
            self._judge_end(unit, status, time.monotonic())

    def _set(self, unit: _Unit, state: State, **changes: object) -> None:
        if unit.child is None:
            changes |= {"pid": None, "birth": None}
        changes |= {"state": state, "since": time.time(), "failures": unit.failures}
        unit.info = replace(unit.info, **changes)
        self._log.info("%s: %s", unit.spec.name, state)
        self._tell()

    def _tell(self) -> None:
        infos = [each.info for each in self._units.values()]
        try:
            self._on_change(infos)
        except Exception:  # noqa: BLE001 it is the code of others
            # A full disk or a closed terminal: who watches sees less, but what runs stays supervised.
            self._log.exception("a change could not be reported")
        with self._changed:
            self._published = infos
            self._changed.notify_all()

    def _needs(self, name: str) -> set[str]:
        """Everything that `name` needs, directly or through others."""
        direct = {each for each in self._units[name].spec.after if each in self._units}
        return direct.union(*(self._needs(each) for each in direct))

    def _dependents(self, name: str) -> set[str]:
        """Everything that needs `name`, directly or through others."""
        direct = {unit.spec.name for unit in self._units.values() if name in unit.spec.after}
        return direct.union(*(self._dependents(each) for each in direct))

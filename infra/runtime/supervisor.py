"""The supervisor: starts processes as soon as what they need is ready, restarts what ends, stops all in reverse order.

One thread (`run`) owns every child; the methods may be called from any other thread. Calls `on_change` with the
processes after each change. Of the libraries, supervisord, circus and honcho know neither readiness nor "after",
and those that do are services of the operating system or programs in Go: so it is written here, small.
"""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from infra.runtime.child import Watchdog, group_members
from infra.runtime.errors import StartFailed, SupervisionEnded
from infra.runtime.logs import Logs
from infra.runtime.spec import ProcessSpec, State
from infra.runtime.unit import SETTLED, UP, ProcessInfo, Surroundings, Unit
from schemas.errors import Unavailable

KILLED_WITHIN_S = 30.0
BUSY_TICK_S, IDLE_TICK_S, ROTATE_EVERY_S = 0.03, 0.1, 5.0
OWN_LOG = "supervisor"

T = TypeVar("T")


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
        self._logs, self._on_change = logs, on_change
        self._log = log or logging.getLogger("dataflow.supervisor")
        self._around = Surroundings(dict(env), logs, self._log, self._tell)
        self._units = {spec.name: Unit(spec, self._around) for spec in specs}
        self._needed_by = {name: self._dependents(name) for name in self._units}
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], Future]] = queue.SimpleQueue()
        self._changed = threading.Condition()
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
        patience = self._call(lambda: max(self._units[name].hold() for name in names)) + KILLED_WITHIN_S
        if not self.wait(lambda infos: not _running(infos, names), patience):
            left = ", ".join(_running(self.processes(), names))
            raise Unavailable(f"{left} did not end within {patience:.0f} s")

    def start_process(self, name: str) -> None:
        """Let a stopped or failed process run again; returns at once."""
        self._call(self._units[name].let_go)

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
        self._call(self._units[name].kill)

    def pids(self, name: str) -> list[int]:
        """The process and everything it started."""
        pid = self.process(name).pid
        return group_members(pid) if pid else []

    def stop(self) -> None:
        """Ask `run` to stop every process and return; returns at once."""
        self._around.stopping = True

    def hurry(self) -> None:
        """Do not wait any longer for what is still stopping."""
        self._around.hurried = True

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
        with ThreadPoolExecutor(4, "probe") as probers:
            try:
                while not self._around.stopping or any(unit.child for unit in self._units.values()):
                    self._serve_calls()
                    now = time.monotonic()
                    for name, unit in self._units.items():
                        if unit.child:
                            unit.watch(now, self._is_needed(name), probers)
                        else:
                            unit.rest(now, self._has_its_needs(name), watchdog)
                    if now >= rotate_at:
                        rotate_at = now + ROTATE_EVERY_S
                        for name in (*self._units, OWN_LOG):
                            self._rotate(name)
            finally:
                for unit in self._units.values():
                    unit.abandon()
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

    def _take_in(self, spec: ProcessSpec) -> None:
        if spec.name not in self._units:
            self._units[spec.name] = Unit(spec, self._around)
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

    def _has_its_needs(self, name: str) -> bool:
        needs = self._units[name].spec.after
        return all(self._units[each].info.state in UP for each in needs if each in self._units)

    def _is_needed(self, name: str) -> bool:
        return any(self._units[each].child for each in self._needed_by[name])

    def _needs(self, name: str) -> set[str]:
        """Everything that `name` needs, directly or through others."""
        direct = {each for each in self._units[name].spec.after if each in self._units}
        return direct.union(*(self._needs(each) for each in direct))

    def _dependents(self, name: str) -> set[str]:
        """Everything that needs `name`, directly or through others."""
        direct = {unit.spec.name for unit in self._units.values() if name in unit.spec.after}
        return direct.union(*(self._dependents(each) for each in direct))

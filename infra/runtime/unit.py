"""One supervised process: started, probed until it is ready, started again when it ends, stopped in an orderly way."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import TypeVar

from infra.entry import EXIT_TERMINAL
from infra.runtime.child import Child, Watchdog, group_members, signal_group
from infra.runtime.logs import Logs
from infra.runtime.share import set_session_niceness
from infra.runtime.spec import ProcessSpec, State
from schemas.errors import DataflowError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
# How long it has to be ready until what failed before counts no more. Of what lives some minutes each time, longer: up
# to these many for one life.
STABLE_S, SHORT_LIFE_S = 60.0, 600.0
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


@dataclass
class Surroundings:
    """What all processes of a supervisor share. `env` is the environment that each one's own is laid over."""

    env: Mapping[str, str]
    logs: Logs
    log: logging.Logger
    changed: Callable[[], None]
    stopping: bool = False
    hurried: bool = False


class Unit:
    """A process in the supervisor's hands; only its thread touches it."""

    def __init__(self, spec: ProcessSpec, around: Surroundings) -> None:
        self.spec = spec
        self.child: Child | None = None
        self.info = ProcessInfo(spec.name, State.WAITING, None, None, spec.port, 0, time.time())
        self._around = around
        self._held = False  # stopped on purpose until somebody starts it again
        self._failures = 0  # in a row, without a stable time between
        self._not_before = 0.0
        self._deadline = 0.0  # of the start, or once `_ending` of the stop
        self._ready_at = 0.0
        self._stable = STABLE_S
        self._ending = False
        self._orphans_told = False
        self._probe: tuple[Child, Future[bool]] | None = None
        self._asked: Future[Mapping[str, str]] | None = None  # for what it starts with; that may take a while
        self._niceness = 0  # that the child has

    def rest(self, now: float, needs_are_up: bool, watchdog: Watchdog) -> None:
        """It does not run: start it if it is time to. Of what keeps it from starting the next try hears."""
        if self.info.state in SETTLED:
            return
        if self._around.stopping:
            self._set(State.STOPPED)
            return
        if self._held or now < self._not_before or not needs_are_up:
            return
        try:
            if self._asked is None:
                self._asked = _ask(self.spec.late_env)
            if not self._asked.done():
                return
            asked, self._asked = self._asked, None
            env = {**self._around.env, **self.spec.env, **asked.result()}
            self.child = Child(self.spec, env, self._around.logs.path(self.spec.name), watchdog)
        except Exception as error:
            # What runs stays supervised, whatever keeps this one from starting.
            if not isinstance(error, OSError | DataflowError):
                self._around.log.exception("%s cannot be started", self.spec.name)
            else:
                self._around.log.error("%s cannot be started: %s", self.spec.name, error)
            self._around.logs.note(self.spec.name, f"cannot be started: {error}")
            self._back_off(now)
            return
        self._ending, self._probe, self._deadline = False, None, now + self.spec.start_deadline
        self._niceness = 0
        self._give_way()
        self._set(State.STARTING, pid=self.child.pid, birth=self.child.birth)

    def watch(self, now: float, is_needed: bool, probers: Executor) -> None:
        """It runs: see whether it has ended, is ready, or is to end."""
        self._give_way()
        status = self.child.poll()
        if self._ending:
            # Its own children get the same time to end: Spark's JVM closes its files.
            left = status is None or bool(group_members(self.child.pid))
            if status is not None and left and not self._orphans_told:
                self._orphans_told = True
                signal_group(self.child.pid, signal.SIGTERM)
            if not left or now >= self._deadline or self._around.hurried:
                self.child.kill()
                self._ended()
                self._set(State.STOPPED if self._held or self._around.stopping else State.WAITING)
        elif status is not None:
            self.child.kill()
            self._ended()
            self._judge_end(status, now)
        elif self._held or (self._around.stopping and not is_needed):
            self._ending, self._orphans_told, self._deadline = True, False, now + self.spec.stop_deadline
            self.child.terminate()
        elif self.info.state is State.STARTING:
            self._look_whether_ready(now, probers)
        elif self._failures and now - self._ready_at >= self._stable:
            self._failures, self._stable = 0, STABLE_S

    def hold(self) -> float:
        """Stop it until `let_go`. Returns how many seconds it may take to end."""
        self._held, self._asked = True, None
        if self.child is None:
            self._set(State.STOPPED)
        return self.spec.stop_deadline

    def let_go(self) -> None:
        """Let it run again, at once."""
        self._held, self._failures, self._not_before, self._asked = False, 0, 0.0, None
        self._stable = STABLE_S
        if self.child is None:
            self._set(State.WAITING)

    def kill(self) -> None:
        """SIGKILL for it and all that it started, as a crash would."""
        if self.child:
            status = self.child.kill()
            self._ended()
            self._judge_end(status, time.monotonic())

    def abandon(self) -> None:
        """SIGKILL for it and all that it started; nobody is told."""
        if self.child:
            self.child.kill()
            self.child.forget()

    def _give_way(self) -> None:
        """As far as it is to by now: a generation's processes get their share when it becomes the live one."""
        if (wanted := self.spec.niceness()) != self._niceness and set_session_niceness(
            self.child.pid, wanted
        ):
            self._niceness = wanted

    def _look_whether_ready(self, now: float, probers: Executor) -> None:
        if self.spec.probe and self._probe is None:
            self._probe = (self.child, probers.submit(self.spec.probe, self.child.pid))
        if self._probe and self._probe[1].done():
            answer, self._probe = self._probe[1].result(), None
            if answer:
                self._ready_at = now
                self._set(State.READY)
                return
        if now >= self._deadline:
            self._around.log.error("%s was not ready after %.0f s", self.spec.name, self.spec.start_deadline)
            self.child.kill()
            self._ended()
            self._back_off(now)

    def _judge_end(self, status: int, now: float) -> None:
        log = self._around.log
        if self.spec.is_task and status == 0:
            self._set(State.DONE)
        elif self._around.stopping or self._held:
            self._set(State.STOPPED)
        elif status == EXIT_TERMINAL:
            log.error("%s ended with %d: a restart does not mend that, see its log", self.spec.name, status)
            self._set(State.FAILED)
        else:
            log.warning("%s ended with %d", self.spec.name, status)
            if self.info.state is State.READY:
                # It may do again, up to there, what it did before it failed.
                lived = now - self._ready_at
                self._stable = max(STABLE_S, 2 * lived) if lived < SHORT_LIFE_S else STABLE_S
            self._back_off(now)

    def _back_off(self, now: float) -> None:
        self._not_before = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._failures)
        self._failures += 1
        self._set(State.BACKOFF, restarts=self.info.restarts + 1)

    def _ended(self) -> None:
        self.child.forget()
        self.child, self._probe = None, None

    def _set(self, state: State, **changes: object) -> None:
        if self.child is None:
            changes |= {"pid": None, "birth": None}
        changes |= {"state": state, "since": time.time(), "failures": self._failures}
        self.info = replace(self.info, **changes)
        self._around.log.info("%s: %s", self.spec.name, state)
        self._around.changed()


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

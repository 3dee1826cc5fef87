"""One of DataFlow's jobs as a process of its own, started as the supervisor would, but killed and started by a test."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from dataflow.testing.wait import wait_for
from infra.entry import EXIT_TRANSIENT
from infra.runtime.child import Child, Watchdog, signal_group
from infra.runtime.platform import ROOT
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings

END_SECONDS = 60.0


class JobProcess:
    """A context manager that leaves nothing behind; use it from the thread that outlives it: the child ends with it.

    `spec_of` makes the process's description of the settings; its log is `{state_dir}/{name}.log`.
    """

    def __init__(self, settings: Settings, spec_of: Callable[[Settings], ProcessSpec]) -> None:
        self.settings, self._spec_of = settings, spec_of
        self._watchdog = Watchdog()
        self._child: Child | None = None
        self._logged = 0
        self.spec = spec_of(settings)
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        self.log_file = settings.state_dir / f"{self.spec.name}.log"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.forget()
        self._watchdog.close()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """None while it is down."""
        return None if self._child is None else self._child.pid

    def launch(self, **changes: Any) -> None:
        """Start it and do not wait; `changes` are settings of this start alone."""
        self.forget()
        self.spec = self._spec_of(self.settings.replace(**changes))
        self._logged = self.log_file.stat().st_size if self.log_file.exists() else 0
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        env = {**os.environ, **self.spec.env, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        self._child = Child(self.spec, env, self.log_file, self._watchdog)

    def start(self) -> None:
        """Start it and wait until it works. AssertionError, with its log, if it ends before that."""
        self.launch()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it works, starting it again if it asks for that."""

        def ready() -> bool:
            self.tend()
            return self.ready()

        wait_for(ready, self.spec.start_deadline, f"{self.name} at work")

    def ready(self) -> bool:
        """Whether it works."""
        return self._child is not None and self.spec.probe(self._child.pid)

    def alive(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.poll() is None

    def tend(self) -> None:
        """Start it again if it has ended because it asks for that. AssertionError, with its log, if it failed."""
        if self._child is None or self._child.poll() is None:
            return
        status = self._child.poll()
        assert status == EXIT_TRANSIENT, f"{self.name} ended with {status}:\n{self.log()}"
        self.launch()

    def kill(self) -> None:
        """SIGKILL for everything that belongs to it. AssertionError if there is nothing to kill any more."""
        assert self.alive(), f"{self.name} was to be killed and had ended by itself:\n{self.log()}"
        self.forget()

    def forget(self) -> None:
        """Make sure that nothing of it is left."""
        if self._child is not None:
            self._child.kill()
            self._child.forget()
            self._child = None

    def terminate(self) -> None:
        """SIGTERM for the process itself, as the supervisor does."""
        self._child.terminate()

    def signal_all(self, number: signal.Signals) -> None:
        """A signal for the process and all that it started, as a terminal or an init system sends it."""
        signal_group(self._child.pid, number)

    def ended(self, timeout: float = END_SECONDS) -> int:
        """Wait for it to end by itself; returns its exit status."""
        wait_for(lambda: self._child.poll() is not None, timeout, f"the end of {self.name}")
        status = self._child.poll()
        self.forget()
        return status

    def status(self) -> dict[str, Any]:
        """What it says of itself in its status file."""
        return json.loads(Path(self.spec.env["DATAFLOW_STATUS_FILE"]).read_text("utf-8"))

    def wait_status(
        self, what: str, condition: Callable[[dict[str, Any]], object], timeout: float = 60
    ) -> dict[str, Any]:
        """Wait until `condition` holds for the status, which is returned."""

        def met() -> dict[str, Any] | None:
            assert self.alive(), f"{self.name} ended:\n{self.log()}"
            status = self.status()
            return status if condition(status) else None

        return wait_for(met, timeout, what)

    def log(self) -> str:
        """What it has written since it was started last."""
        with self.log_file.open("rb") as log:
            log.seek(self._logged)
            return log.read().decode(errors="replace")

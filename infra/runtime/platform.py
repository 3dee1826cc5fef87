"""A running platform, or a part of one: the chosen processes under a supervisor, as a context manager.

`dataflow up` runs all of it; tests run the part they need. Writes `{state_dir}/run.json`, `ports.json`, `logs/`.
"""

import logging
import math
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from infra.code import keep
from infra.runtime import jobs, services
from infra.runtime.birth import birth
from infra.runtime.door import open_door
from infra.runtime.fleet import Fleet
from infra.runtime.jobs import UNBOUND, Serves
from infra.runtime.logs import Logs
from infra.runtime.ports import HOST, PortBook
from infra.runtime.run_state import (
    ADDRESSES,
    BOUND,
    RUN_VARIABLE,
    Run,
    as_rows,
    kill_leftovers,
    supervisor_lock,
    write_run,
)
from infra.runtime.spec import ProcessSpec, State, suffix
from infra.runtime.supervisor import OWN_LOG, Supervisor
from infra.runtime.unit import ProcessInfo
from infra.settings import Settings
from infra.setup import checked_jars, find_java

SERVICES = ("kafka", "registry", "valkey")
JOBS = ("bootstrap", "live", "materializer", "api")
LIVE = SERVICES + JOBS  # all that the live numbers need
ALL = (*LIVE, "lake", "verifier")
ROOT = Path(__file__).parents[2]
# Variables of the user's shell that would change what a child runs.
FOREIGN_PREFIXES = ("APICURIO_", "QUARKUS_", "SPARK_", "PYSPARK_", "HADOOP_")


class Platform:
    """Starts `processes` and waits until they are ready; `settings` then has the real addresses.

    A service whose address is set already is used, not started. `demo` is the command of a load to run beside it.
    """

    def __init__(
        self,
        settings: Settings,
        processes: Sequence[str] = ALL,
        *,
        demo: tuple[str, ...] | None = None,
        preferred_ports: bool = True,
        start_timeout: float = 300.0,
        on_change: Callable[[list[ProcessInfo]], None] = lambda _: None,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self._on_notice = on_notice
        self.url: str | None = None
        self._wanted, self._demo, self._preferred_ports = processes, demo, preferred_ports
        self._start_timeout, self._on_change = start_timeout, on_change
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.start(stack)
            self.wait_ready()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()

    def start(self, stack: ExitStack) -> None:
        """Start without waiting; `stack` stops everything."""
        if "api" in self._wanted:
            self.settings.check_api_exposure()
        state_dir = self.settings.state_dir
        stack.enter_context(supervisor_lock(state_dir))
        left = kill_leftovers(state_dir)
        # What Spark keeps on disk while it runs, and leaves there when it is killed.
        shutil.rmtree(state_dir / "spark", ignore_errors=True)
        self._logs = Logs(state_dir / "logs")
        log = self._own_log(stack)
        if left:
            log.warning("killed what the run before left behind: %s", left)
        self._fleet: Fleet | None = None
        specs = self._specs(stack, log)
        for spec in specs:
            self._logs.begin(spec.name)
        self._run_id, self._started = uuid.uuid4().hex, time.time()
        self.supervisor = Supervisor(specs, self._child_env(), self._logs, self._publish, log)
        # Before the first child: a run that is killed at once must be found by the next one.
        self._publish(self.supervisor.processes())
        self._thread = threading.Thread(target=self.supervisor.run, name="supervisor")
        self._thread.start()
        stack.callback(self._thread.join)
        stack.callback(self.supervisor.stop)
        if self._fleet is not None:
            self._fleet.start(self.supervisor)
            stack.callback(self._fleet.stop)

    def wait_end(self) -> None:
        """Wait until nothing is supervised any more. Raises SupervisionEnded if that was not asked for."""
        self._thread.join()
        self.supervisor.check()

    def wait_ready(
        self,
        name: str | None = None,
        timeout: float | None = None,
        max_restarts: float = math.inf,
        but: Sequence[str] = (),
    ) -> None:
        """Wait for one process, or all but some. Raises StartFailed with the end of the log."""
        names = [name] if name else [p.name for p in self.supervisor.processes() if p.name not in but]
        self.supervisor.wait_ready(names, self._start_timeout if timeout is None else timeout, max_restarts)

    def stop_process(self, name: str) -> None:
        """Stop one process in an orderly way; it stays down until `start_process`."""
        self.supervisor.stop_process(name)

    def start_process(self, name: str) -> None:
        """Start a stopped process again; returns at once."""
        self.supervisor.start_process(name)

    def start_failed(self) -> None:
        """Start again what had failed for good, now that its reason may be gone."""
        for info in self.supervisor.processes():
            if info.state is State.FAILED:
                self.start_process(info.name)

    def restart(self, name: str) -> None:
        """An orderly stop and a start; returns when it has been started, `wait_ready` tells the rest."""
        self.stop_process(name)
        self.start_process(name)

    def kill(self, name: str) -> None:
        """SIGKILL the process with everything it started; the supervisor starts it again."""
        self.supervisor.kill(name)

    def pids(self, name: str) -> list[int]:
        """The process and everything it started."""
        return self.supervisor.pids(name)

    def log_file(self, name: str) -> Path:
        """Where a process writes its output."""
        return self._logs.path(name)

    def _specs(self, stack: ExitStack, log: logging.Logger) -> list[ProcessSpec]:
        given, wanted = self.settings, set(self._wanted)
        java = find_java(given.java_home)
        self._ports = ports = PortBook(given.state_dir / "ports.json", use_preferred=self._preferred_ports)
        specs: list[ProcessSpec] = []
        if "kafka" in wanted and not given.kafka_bootstrap_servers:
            port, controller = ports.take("kafka", 9092), ports.take("kafka-controller", 9093)
            specs += services.kafka_specs(given, java, checked_jars(given.cache_dir), port, controller)
            self.settings = self.settings.replace(kafka_bootstrap_servers=f"{HOST}:{port}")
        if "registry" in wanted and not given.kafka_schema_registry:
            port, health = ports.take("registry", 8081), ports.take("registry-health", 8082)
            bootstrap = self.settings.kafka_bootstrap_servers
            specs.append(
                services.registry_spec(given, java, checked_jars(given.cache_dir), bootstrap, port, health)
            )
            self.settings = self.settings.replace(
                kafka_schema_registry=f"http://{HOST}:{port}{services.REGISTRY_API}"
            )
        if "valkey" in wanted and not given.redis_host:
            port = ports.take("valkey", given.redis_port)
            specs.append(services.valkey_spec(given, port))
            self.settings = self.settings.replace(redis_host=HOST, redis_port=port)
        if "api" in wanted:
            self.settings = self.settings.replace(api_port=ports.take("api", given.api_port, given.api_host))
            self.url = jobs.api_url(self.settings)
            self._door = stack.enter_context(open_door(given.api_host, self.settings.api_port))
        if "bootstrap" in wanted:
            specs.append(jobs.bootstrap_spec(self.settings))
        base = [name for name in BOUND if name in wanted]
        if "bootstrap" not in wanted:
            # A part of a platform: each process serves whichever generation is live.
            specs += self._bound(UNBOUND)
        elif base:
            self._fleet = Fleet(
                self.settings, keep(self.settings), base, self._specs_beside, log, self._on_notice
            )
            specs += self._bound(Serves(self._fleet.base_env, gives_way=self._fleet.gives_way))
        if self._demo:
            by = UNBOUND if self._fleet is None else Serves(self._fleet.base_env)
            specs.append(jobs.demo_spec(self.settings, self._demo, by))
        return specs

    def _bound(self, serves: Serves, preview: int | None = None) -> list[ProcessSpec]:
        """The processes of one generation; its API is to be seen on the port `preview`, too."""
        wanted, java = set(self._wanted), find_java(self.settings.java_home)
        # The second Spark starts when the live numbers are there: both at once would delay them.
        needs = {name: f"{name}{serves.suffix}" for name in ("live", "lake") if name in wanted}
        needs |= {name: name for name in ("bootstrap",) if name in wanted}
        after_lake, after_verifier = (
            tuple(needs[name] for name in ("bootstrap", which) if name in needs) for which in ("live", "lake")
        )
        made = {
            "live": lambda: jobs.live_spec(self.settings, java, serves),
            "materializer": lambda: jobs.materializer_spec(self.settings, serves),
            "api": lambda: jobs.api_spec(self.settings, self._door, serves, preview),
            "lake": lambda: jobs.lake_spec(self.settings, java, after_lake, serves),
            "verifier": lambda: jobs.verifier_spec(self.settings, after_verifier, serves),
        }
        return [make() for name, make in made.items() if name in wanted]

    def _specs_beside(self, number: int) -> list[ProcessSpec]:
        """The processes of a generation that runs beside the one that this platform was started with."""
        port = self.settings.api_port + number
        preview = self._ports.take(f"api-g{number}", port) if "api" in self._wanted else None
        serves = Serves(
            lambda: self._fleet.env_of(number),
            suffix(f"g{number}"),
            lambda: self._fleet.gives_way(number),
        )
        return self._bound(serves, preview)

    def _child_env(self) -> dict[str, str]:
        """The user's environment without what are settings: each job gets those whole, a service gets none."""
        names = {name.upper() for name in Settings.model_fields}
        kept = {
            k: v
            for k, v in os.environ.items()
            if k.upper() not in names and not k.startswith(FOREIGN_PREFIXES)
        }
        path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
        return kept | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", RUN_VARIABLE: self._run_id}

    def _publish(self, processes: list[ProcessInfo]) -> None:
        addresses = self.settings.model_dump(include=set(ADDRESSES))
        run = Run(
            self._run_id,
            os.getpid(),
            birth(),
            self.settings.dataflow_env,
            self._started,
            self.url,
            addresses,
            as_rows(processes),
            self._fleet and self._fleet.number,
            self._fleet and self._fleet.code,
        )
        write_run(self.settings.state_dir, run)
        self._on_change(processes)

    def _own_log(self, stack: ExitStack) -> logging.Logger:
        """A logger of this platform alone: several may run in one process."""
        self._logs.begin(OWN_LOG)
        handler = logging.FileHandler(self._logs.path(OWN_LOG))
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        stack.callback(handler.close)
        log = logging.Logger("dataflow.supervisor", logging.INFO)
        log.addHandler(handler)
        return log

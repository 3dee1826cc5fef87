"""Which generations' processes run here: what the log of generations says, brought about by the supervisor.

The processes that a platform starts with serve one generation, the live one of that moment, by its own code. Each other
one that is to run gets processes of its own beside them, `live@g2` and so on; one that pauses or is gone loses them.
Nothing is moved at a switch of the live generation: its processes are there already. Reads the log of generations;
records by which code the first one runs.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka.admin import AdminClient

from infra.code import Code, changed, environment
from infra.generations import Generations, change_generations, read_generations
from infra.kafka import admin, log_bounds
from infra.runtime.spec import ProcessSpec
from infra.runtime.supervisor import Supervisor
from infra.settings import Settings
from schemas.errors import DataflowError, Unavailable
from schemas.topics import GENERATIONS

LOOK_SECONDS = 1.0


class Fleet:
    """The processes of all generations under one supervisor.

    `code` is what this process runs; `base` names the processes that were there from the start; `specs_of` makes those
    of another generation. `notice` is told what a person should know.
    """

    def __init__(
        self,
        settings: Settings,
        code: Code,
        base: Sequence[str],
        specs_of: Callable[[int], list[ProcessSpec]],
        log: logging.Logger,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings, self._code, self._base, self._specs_of = settings, code, base, specs_of
        self._log, self._notice = log, notice
        self._lock = threading.Lock()
        self._number: int | None = None  # that the base processes serve
        self._paces: dict[int, int] = {}  # how fast a replay may go, in records a second
        self._codes: dict[int, Code] = {}  # by which each generation runs
        self._giving_way: frozenset[int] = frozenset()
        self._standing = False  # the base processes are stopped, because their generation pauses or is gone
        self._beside: dict[int, list[str]] = {}
        self._leaving: set[int] = set()  # some of whose processes may be gone, or were never there
        self._client: AdminClient | None = None
        self._seen: int | None = None
        self._told: str | None = None  # why a look failed last
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def number(self) -> int | None:
        """The generation that the processes serve which were there from the start."""
        return self._number

    @property
    def code(self) -> str:
        """Digest of the code that this platform runs, and binds a generation to that says nothing else."""
        return self._code.digest

    def gives_way(self, number: int | None = None) -> bool:
        """Whether a generation (default: that of the base processes) leaves the processor to the live one."""
        return (self._number if number is None else number) in self._giving_way

    def base_env(self) -> Mapping[str, str]:
        """What binds a base process to its generation and code. Raises Unavailable, GenerationError."""
        with self._lock:
            if self._number is None:
                self._bind(read_generations(self._settings))
        return self.env_of(self._number)

    def env_of(self, number: int) -> Mapping[str, str]:
        """The same of any generation's process."""
        if number not in self._codes:
            self._know(number, read_generations(self._settings))
        elif self._paces.get(number):
            # A broker that does not answer, or not with all it has yet, holds up no start.
            with suppress(DataflowError):
                self._know(number, read_generations(self._settings))
        return {
            "DATAFLOW_GENERATION": str(number),
            "REPLAY_RECORDS_PER_SECOND": str(self._paces.get(number, 0)),
            **environment(self._settings, self._codes[number].digest, self._codes[number].declared),
        }

    def _know(self, number: int, now: Generations) -> None:
        """By which code and how fast it goes. One that is live, or that a rollback goes back to, is held up by none."""
        recorded = now.of(number)
        if self._seen is None:  # else this may be older than what is noted
            self._note(now)
        self._paces[number] = (
            0 if number in (now.live, now.before) else (recorded.plan or {}).get("throttle", 0)
        )
        self._codes.setdefault(number, Code.from_json(recorded.code) if recorded.code else self._code)

    def _note(self, now: Generations) -> None:
        """Who is not live gives way, but for what is gone back to, and a replay that is to go as fast as it goes."""
        self._giving_way = frozenset(
            number
            for number, each in now.known.items()
            if number not in (now.live, now.before) and (each.plan or {}).get("throttle") != 0
        )

    def _bind(self, now: Generations) -> None:
        """The base processes serve the live generation from now on: by this code, unless it would say otherwise."""
        if now.live is None:
            raise Unavailable("no generation has been started yet: `python -m infra.bootstrap` does it")
        number, recorded = now.live, now.known[now.live]
        code, differing = self._code, []
        if recorded.code is not None and (differing := changed(recorded.code["declared"], code.declared)):
            code = Code.from_json(recorded.code)
            self._notice(
                f"generation g{number} goes on by the code that it was made by, which differs from what is here in "
                f"{', '.join(differing)}. `dataflow replay plan` tells what a replay by this code would do"
            )
        elif recorded.code is None or recorded.code["digest"] != code.digest:
            change_generations(self._settings, lambda _: {f"g{number}/code": code.as_json()})
        self._codes[number] = code
        self._number = number

    # --- in the thread

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self._look()
            except DataflowError as error:
                if str(error) != self._told:
                    self._told = str(error)
                    self._log.warning("the processes are not fitted to the generations: %s", error)
            except Exception:  # noqa: BLE001 the thread outlives whatever the client library raises
                # The processes that run are supervised all the same; the next look may bring it about.
                self._log.exception("the processes could not be fitted to the generations")
                self._seen = None

    def _look(self) -> None:
        with self._lock:
            if self._number is None:
                return  # the base processes wait for something
        self._client = self._client or admin(self._settings.kafka_bootstrap_servers)
        at = (self._settings.topic_prefix + GENERATIONS, 0)
        end = log_bounds(self._client, [at])[1][at]
        if end != self._seen:
            now = read_generations(self._settings)
            if now.live is None:
                return  # a broker that has just started may not show it yet, and there was one
            self._fit(now)
            self._seen = end

    def _fit(self, now: Generations) -> None:
        self._note(now)
        running = now.running()
        for number in [each for each in self._beside if each not in running or each in self._leaving]:
            self._leaving.add(number)
            self._supervisor.remove(*self._beside[number])
            del self._beside[number]
            self._leaving.discard(number)
        if self._number in running:
            if self._standing:
                self._let_go()
        elif now.live in running and now.live not in self._beside:
            self._halt()
            with self._lock:
                self._bind(now)
            self._let_go()
        elif not self._standing:
            self._halt()
        for number in running:
            if number != self._number and number not in self._beside:
                specs = self._specs_of(number)
                # Whatever comes of it, the next look knows which to take away.
                self._beside[number] = [spec.name for spec in specs]
                self._leaving.add(number)
                for spec in specs:
                    self._supervisor.add(spec)
                self._leaving.discard(number)
                self._log.info("generation g%d runs beside g%s", number, self._number)

    def _halt(self) -> None:
        self._supervisor.stop_process(*self._base)
        self._standing = True

    def _let_go(self) -> None:
        for name in self._base:
            self._supervisor.start_process(name)
        self._standing = False

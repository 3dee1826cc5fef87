"""Two generations with numbers of their own, an API process of each at one socket, and clients that never let up."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from dataflow.testing.process import JobProcess
from infra.generation import begin_generation
from infra.generations import LIVE, Generations, change_generations
from infra.runtime.door import listen
from infra.runtime.jobs import Serves, api_spec
from infra.runtime.ports import HOST
from infra.settings import Settings
from tests.helpers import wait_for
from tests.serving.api.kit import State, free_port

# Each generation's only number, by which an answer betrays whose state it was read from.
CENTS = {1: 100, 2: 200}
GROSS = {"g1": "1.00", "g2": "2.00"}
PATH = "/v1/metrics/revenue"


class Refused(Exception):
    """The kernel refused a connection: nobody listened."""


@dataclass(frozen=True)
class Seen:
    """One answer: when its request began (its last attempt) and when it was complete, on one clock."""

    client: str
    began: float
    ended: float
    status: int
    generation: str | None


@dataclass
class World:
    """The environment, its socket, and whatever runs at it."""

    settings: Settings
    listener: socket.socket
    switches: list[tuple[float, float, int]] = field(default_factory=list)  # begun, recorded, to which
    states: dict[str, State] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.settings.api_port}"

    def api(self, number: int | None, **changes: Any) -> JobProcess:
        """The API of a generation, not started yet; `with` starts it and waits until it is able."""
        own = self.settings.replace(dataflow_generation=number, **changes)
        serves = Serves(suffix="" if number is None else f"@g{number}")
        return JobProcess(own, lambda settings: api_spec(settings, self.listener.fileno(), serves))

    def point_to(self, number: int) -> None:
        """Make a generation the live one."""
        began = time.monotonic()

        def decide(now: Generations) -> dict[str, Any]:
            return {LIVE: {"number": number, "before": now.live}}

        change_generations(self.settings, decide)
        self.switches.append((began, time.monotonic(), number))


@contextmanager
def two_generations(settings: Settings) -> Iterator[World]:
    """`settings` are of an environment with generation 1, the live one; 2 is recorded beside it."""
    settings = settings.replace(api_port=free_port())
    change_generations(settings, lambda _: {"g2": begin_generation(settings, 2).as_json()})
    states = [State(settings, f"g{number}") for number in CENTS]
    for state, cents in zip(states, CENTS.values(), strict=True):
        state.order(cents)
    with listen(HOST, settings.api_port) as listener:
        yield World(settings, listener, states=dict(zip(GROSS, states, strict=True)))
    for state in states:
        state.close()


class Clients:
    """Threads that ask again and again until the block ends. What one of them cannot explain is raised at its end."""

    def __init__(self, world: World, kept: int = 2, fresh: int = 2, pushed: int = 2) -> None:
        self.world = world
        self.seen: list[Seen] = []
        self.pushes: list[tuple[str, float, str]] = []  # client, when, generation
        self.cut = 0  # attempts that were closed before an answer, and made again
        self._errors: list[BaseException] = []
        self._stopped = threading.Event()
        jobs = [(self._ask, f"kept {n}", True) for n in range(kept)]
        jobs += [(self._ask, f"fresh {n}", False) for n in range(fresh)]
        jobs += [(self._listen, f"pushed {n}", True) for n in range(pushed)]
        self._threads = [threading.Thread(target=self._guard, args=job, name=job[1]) for job in jobs]
        self.names = [name for _, name, _ in jobs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)
        if self._errors and error[0] is None:
            raise self._errors[0]
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def wait_for(self, generation: str, since: float, timeout: float = 20) -> None:
        """Until every client has had an answer of a generation that came after `since`."""

        def all_have() -> bool:
            if self._errors:
                raise self._errors[0]
            got = {s.client for s in self.seen if s.began > since and s.generation == generation}
            return set(self.names) <= got | {c for c, at, g in self.pushes if at > since and g == generation}

        wait_for(all_have, timeout, f"answers of {generation} to {', '.join(self.names)}")

    def _guard(self, job: Any, name: str, keeps: bool) -> None:
        try:
            job(name, keeps)
        except BaseException as error:  # noqa: BLE001 raised in the test's thread
            self._errors.append(error)

    def _ask(self, name: str, keeps: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if keeps else 0)
        chance = random.Random(name)
        with httpx.Client(base_url=self.world.url, limits=limits, timeout=30, trust_env=False) as client:
            while not self._stopped.wait(chance.random() / 50):
                began, answer = self._answer(client)
                body = answer.json()
                generation = body.get("as_of", {}).get("generation")
                ended = time.monotonic()
                self.seen.append(Seen(name, began, ended, answer.status_code, generation))
                if answer.status_code == 200:
                    assert body["rows"][0]["gross"] == GROSS[generation], f"a mix: {body}"

    def _answer(self, client: httpx.Client) -> tuple[float, httpx.Response]:
        """As browsers do: again, if the connection was closed before an answer."""
        while True:
            began = time.monotonic()
            try:
                return began, client.get(PATH)
            except httpx.ConnectError as error:
                raise Refused from error
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                self.cut += 1

    def _listen(self, name: str, _: bool) -> None:
        last, pause = None, 0.0
        with httpx.Client(base_url=self.world.url, timeout=2, trust_env=False) as client:
            while not self._stopped.wait(pause):
                headers = {"Last-Event-ID": last} if last else {}
                try:
                    with client.stream("GET", "/v1/live", headers=headers) as answer:
                        assert answer.status_code == 200, answer.read()
                        for line in answer.iter_lines():
                            kind, _, value = line.partition(": ")
                            if kind == "id":
                                last = value
                                self.pushes.append((name, time.monotonic(), value.partition("-")[0]))
                            elif kind == "retry":
                                pause = int(value) / 1000
                            if self._stopped.is_set():
                                return
                except httpx.ConnectError as error:
                    raise Refused from error
                except httpx.ReadTimeout:
                    continue  # nothing new
                except (httpx.RemoteProtocolError, httpx.ReadError):
                    self.cut += 1


def assert_never_back(seen: list[Seen], switches: list[tuple[float, float, int]]) -> None:
    """Between the beginnings of two switches: what began after an answer of the new generation is of it too."""
    ends = [began for began, _, _ in switches[1:]] + [float("inf")]
    for (began, _, number), until in zip(switches, ends, strict=True):
        window = [s for s in seen if s.began >= began and s.ended <= until]
        new = [s.ended for s in window if s.generation == f"g{number}"]
        assert new, f"nobody saw g{number}"
        late = [s for s in window if s.generation != f"g{number}" and s.began > min(new)]
        assert not late, f"answers of another generation than g{number}, which others had had: {late[:3]}"

"""Processes that come and go while others are supervised, and variables that are only known when a process starts."""

import logging
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.generations import Generation, Generations, Recorded
from infra.generations import State as Phase
from infra.runtime.fleet import Fleet
from infra.runtime.spec import ProcessSpec, State
from schemas.errors import Unavailable
from tests.helpers import wait_for
from tests.infra.test_supervisor import FOREVER, shell, start  # noqa: F401 the fixture

NOW = "echo $WHICH >> {}/which; " + FOREVER


def test_a_process_is_added_and_removed_while_the_others_run(start):  # noqa: F811
    running = start(shell("first", FOREVER))
    running.supervisor.wait_ready(["first"], 10)
    running.supervisor.add(shell("second", FOREVER, "first"))
    running.supervisor.wait_ready(["second"], 10)
    pid = running.info("second").pid
    running.supervisor.remove("second")
    assert [info.name for info in running.supervisor.processes()] == ["first"]
    assert not psutil.pid_exists(pid)
    assert running.info("first").restarts == 0
    running.supervisor.add(shell("second", FOREVER))  # the name is free again
    running.supervisor.wait_ready(["second"], 10)


def test_to_add_and_remove_again_does_no_harm(start):  # noqa: F811
    running = start(shell("first", FOREVER))
    running.supervisor.add(shell("second", FOREVER))
    running.supervisor.wait_ready(["second"], 10)
    pid = running.info("second").pid
    running.supervisor.add(shell("second", FOREVER))
    assert running.info("second").pid == pid
    for _ in range(2):
        running.supervisor.remove("second")
    assert [info.name for info in running.supervisor.processes()] == ["first"]


def test_what_binds_a_process_is_asked_for_at_each_start_and_tried_again(start, tmp_path):  # noqa: F811
    answers = iter(["no", "one", "two"])

    def late():
        answer = next(answers)
        if answer == "no":
            raise Unavailable("nobody knows yet")
        return {"WHICH": answer}

    spec = replace(shell("bound", NOW.format(tmp_path)), late_env=late)
    running = start(spec)
    wait_for((tmp_path / "which").exists, 20, "a start")
    running.supervisor.kill("bound")
    wait_for(lambda: (tmp_path / "which").read_text() == "one\ntwo\n", 20, "the second start")
    assert "cannot be started: nobody knows yet" in running.logs.path("bound").read_text()


def test_who_is_long_in_saying_it_holds_nobody_up_and_what_it_raises_is_tried_again(start):  # noqa: F811
    answers, said = iter([ZeroDivisionError("unforeseen"), {}]), threading.Event()

    def late():
        assert said.wait(30)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    running = start(shell("first", FOREVER), replace(shell("bound", FOREVER), late_env=late))
    running.supervisor.wait_ready(["first"], 10)
    pid = running.info("first").pid
    running.supervisor.kill("first")  # who supervises is not the one who waits
    wait_for(lambda: running.info("first").pid not in (None, pid), 10, "another process")
    assert running.info("bound").state is State.WAITING
    said.set()
    running.supervisor.wait_ready(["bound"], 10)
    assert "cannot be started: unforeseen" in running.logs.path("bound").read_text()


def test_an_answer_that_does_not_come_holds_up_no_end(start):  # noqa: F811
    asked, never = threading.Event(), threading.Event()

    def late():
        asked.set()
        never.wait(60)
        return {}

    running = start(replace(shell("bound", FOREVER), late_env=late))
    assert asked.wait(20)
    running.stop()
    never.set()


def test_processes_that_are_removed_together_end_at_the_same_time(start, tmp_path):  # noqa: F811
    names = ("a", "b", "c")
    all_asked = " && ".join(f"[ -e {tmp_path}/asked-{name} ]" for name in names)

    def ends_with_the_others(name: str) -> ProcessSpec:
        up, asked, ended = (tmp_path / f"{what}-{name}" for what in ("up", "asked", "ended"))
        end = f"touch {asked}; until {all_asked}; do sleep 0.02; done; touch {ended}; exit 0"
        return shell(name, f"trap '{end}' TERM; touch {up}; {FOREVER}", probe=lambda _: up.exists())

    running = start(shell("first", FOREVER), *map(ends_with_the_others, names))
    running.supervisor.wait_ready(["first", *names], 10)
    running.supervisor.remove(*names, "unknown")
    assert [info.name for info in running.supervisor.processes()] == ["first"]
    assert all((tmp_path / f"ended-{name}").exists() for name in names)


def niceness_of(pid: int) -> int:
    """That of the session of a process."""
    return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])


@pytest.mark.skipif("not Path('/proc/self/autogroup').exists()", reason="this system shares by process")
def test_a_process_gives_way_as_long_as_it_is_told_to_and_so_does_the_next(start):  # noqa: F811
    levels = {"first": 12}
    running = start(
        replace(shell("first", FOREVER), niceness=lambda: levels["first"]), shell("other", FOREVER)
    )
    running.supervisor.wait_ready(["first", "other"], 10)

    def has(niceness: int) -> bool:
        pid = running.info("first").pid
        return pid is not None and niceness_of(pid) == niceness

    wait_for(lambda: has(12), 10, "it to give way")
    assert niceness_of(running.info("other").pid) == 0
    killed = running.info("first").pid
    running.supervisor.kill("first")
    wait_for(
        lambda: running.info("first").pid not in (None, killed) and has(12), 20, "the next one to give way"
    )
    levels["first"] = 0
    wait_for(lambda: has(0), 10, "its share again")


class Known(Fleet):
    """A fleet that is told what the log says, instead of reading it, and binds without a code."""

    def __init__(self, supervisor, specs_of) -> None:
        self._base, self._specs_of, self._supervisor = ("base",), specs_of, supervisor
        self._number, self._beside, self._standing, self._leaving = 1, {}, False, set()
        self._lock, self._log = threading.Lock(), logging.getLogger("fleet")

    def _bind(self, now: Generations) -> None:
        self._number = now.live


def world(live: int, **states: Phase) -> Generations:
    known = {int(name[1:]): Recorded(Generation(int(name[1:]), {}), state) for name, state in states.items()}
    return Generations(live, None, known)


def test_the_processes_of_a_generation_come_and_go_with_what_is_recorded(start):  # noqa: F811
    running = start(shell("base", FOREVER))
    running.supervisor.wait_ready(["base"], 10)
    fleet = Known(running.supervisor, lambda number: [shell(f"live@g{number}", FOREVER)])

    def names() -> dict[str, State]:
        return {info.name: info.state for info in running.supervisor.processes()}

    def up(*wanted: str) -> bool:
        return all(names().get(name) is State.READY for name in wanted)

    fleet._fit(world(1, g1=Phase.RUNNING, g2=Phase.RUNNING))
    wait_for(lambda: up("base", "live@g2"), 20, "both")
    pids = running.info("base").pid, running.info("live@g2").pid
    assert (fleet.gives_way(), fleet.gives_way(2)) == (False, True)
    # A switch moves nothing, but for who gives way.
    fleet._fit(world(2, g1=Phase.RUNNING, g2=Phase.RUNNING))
    assert (fleet.gives_way(), fleet.gives_way(2)) == (True, False)
    assert (running.info("base").pid, running.info("live@g2").pid) == pids
    # The one that it began with pauses, and goes on.
    fleet._fit(world(2, g1=Phase.PAUSED, g2=Phase.RUNNING))
    assert names()["base"] is State.STOPPED
    assert running.info("live@g2").pid == pids[1]
    fleet._fit(world(2, g1=Phase.RUNNING, g2=Phase.RUNNING))
    wait_for(lambda: up("base"), 20, "the first one again")
    # One that is given up is gone.
    fleet._fit(world(1, g1=Phase.RUNNING, g2=Phase.GONE))
    assert list(names()) == ["base"]
    # Started over: the processes that it began with serve the next one.
    fleet._fit(world(3, g1=Phase.PAUSED, g2=Phase.GONE, g3=Phase.RUNNING))
    wait_for(lambda: up("base"), 20, "the base processes under g3")
    assert (fleet._number, list(names())) == (3, ["base"])

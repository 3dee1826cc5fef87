"""The supervisor, with small real processes: order, readiness, restarts, orderly ends, nothing left behind."""

import errno
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.entry import EXIT_TERMINAL
from infra.runtime import logs as logs_module
from infra.runtime import supervisor as supervisor_module
from infra.runtime import unit as unit_module
from infra.runtime.errors import StartFailed, SupervisionEnded
from infra.runtime.logs import Logs
from infra.runtime.spec import ProcessSpec, State
from infra.runtime.supervisor import Supervisor
from infra.runtime.unit import ProcessInfo
from tests.helpers import wait_for

FOREVER = "while :; do sleep 0.02; done"
ENV = {"PATH": "/usr/bin:/bin"}


def always(_: float) -> bool:
    return True


def never(_: float) -> bool:
    return False


def shell(
    name: str, script: str, *after: str, probe: Callable[[float], bool] | None = always, **times: float
):
    return ProcessSpec(name, ("sh", "-c", script), after=after, probe=probe, **times)


class Running:
    """A supervisor in a thread, and what it published."""

    def __init__(self, directory: Path, *specs: ProcessSpec) -> None:
        self.trace: list[tuple[str, State]] = []
        self._seen: dict[str, State] = {}
        self.logs = Logs(directory)
        self.supervisor = Supervisor(specs, ENV, self.logs, self._note)
        self._thread = threading.Thread(target=self.supervisor.run)
        self._thread.start()

    def _note(self, infos: list[ProcessInfo]) -> None:
        for info in infos:
            if self._seen.get(info.name) != info.state:
                self._seen[info.name] = info.state
                self.trace.append((info.name, info.state))

    def info(self, name: str) -> ProcessInfo:
        return self.supervisor.process(name)

    def stop(self) -> None:
        self.supervisor.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(*specs: ProcessSpec) -> Running:
        started.append(Running(tmp_path / "logs", *specs))
        return started[-1]

    yield begin
    for running in started:
        running.stop()


def test_starts_a_process_when_what_it_needs_is_ready(start, tmp_path: Path) -> None:
    mark = tmp_path / "base-serves"
    base = shell("base", f"sleep 0.3; touch {mark}; {FOREVER}", probe=lambda _: mark.exists())
    running = start(shell("top", FOREVER, "base"), base)
    running.supervisor.wait_ready(["top"], 10)
    order = [("base", State.STARTING), ("base", State.READY), ("top", State.STARTING), ("top", State.READY)]
    assert [step for step in running.trace if step[1] is not State.WAITING] == order


def test_starts_independent_processes_at_the_same_time(start, tmp_path: Path) -> None:
    both = [tmp_path / "one", tmp_path / "two"]
    # Each becomes ready only once the other runs.
    specs = [
        shell(mine.name, f"touch {mine}; {FOREVER}", probe=lambda _, o=o: o.exists())
        for mine, o in zip(both, reversed(both), strict=True)
    ]
    start(*specs).supervisor.wait_ready(["one", "two"], 10)


def test_a_task_runs_once_and_what_needs_it_waits_for_its_end(start, tmp_path: Path) -> None:
    file = tmp_path / "made"
    running = start(
        shell("job", f"test -e {file} && {FOREVER}", "task"),
        shell("task", f"sleep 0.2; echo x >> {file}", probe=None),
    )
    running.supervisor.wait_ready(["job"], 10)
    assert running.info("task").state is State.DONE
    assert file.read_text() == "x\n"
    assert running.info("job").restarts == 0


def test_restarts_what_ends_with_growing_pauses(start, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    running = start(shell("crash", f"date +%s.%N >> {starts}; exit 3", probe=never))
    wait_for(lambda: starts.exists() and len(starts.read_text().split()) >= 4, what="the fourth start")
    times = [float(line) for line in starts.read_text().split()]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[0] >= 0.2
    assert pauses[1] >= 0.4
    assert pauses[2] >= 0.8
    assert running.info("crash").restarts >= 3


def test_what_lives_for_a_while_and_ends_each_time_is_not_taken_for_stable(
    start, tmp_path, monkeypatch
) -> None:
    """A code that fails at a record which it comes to after minutes, from the beginning each time."""
    monkeypatch.setattr(unit_module, "STABLE_S", 0.1)
    running = start(shell("one", f"sleep 1; while [ -e {tmp_path}/mended ]; do sleep 0.05; done; exit 1"))
    wait_for(lambda: running.info("one").failures >= 3, 60, "three failures")
    (tmp_path / "mended").touch()
    wait_for(
        lambda: running.supervisor._units["one"]._failures == 0, 60, "a life that is longer than the others"
    )


def test_a_killed_process_comes_back_with_another_pid(start) -> None:
    running = start(shell("service", FOREVER))
    running.supervisor.wait_ready(["service"], 10)
    before = running.info("service")
    running.supervisor.kill("service")
    assert not psutil.pid_exists(before.pid)
    running.supervisor.wait_ready(["service"], 10)
    after = running.info("service")
    assert after.pid != before.pid
    assert after.restarts == 1


def test_a_process_that_a_restart_cannot_mend_is_not_restarted_and_its_log_is_shown(start) -> None:
    running = start(
        shell("wrong", f"echo 'the reason' >&2; exit {EXIT_TERMINAL}", probe=never),
        shell("next", FOREVER, "wrong"),
    )
    with pytest.raises(
        StartFailed, match=r"(?s)wrong did not become ready: it is in state failed.*the reason"
    ):
        running.supervisor.wait_ready(["next"], 10)
    assert running.info("wrong").restarts == 0
    assert running.info("next").state is State.WAITING


def test_what_has_failed_and_is_not_needed_stops_nobody_who_waits_for_others(start) -> None:
    running = start(
        shell("wrong", f"exit {EXIT_TERMINAL}", probe=never),
        shell("needed", FOREVER),
        shell("next", FOREVER, "needed"),
    )
    wait_for(lambda: running.info("wrong").state is State.FAILED, what="the failure")
    running.supervisor.wait_ready(["next"], 10)
    with pytest.raises(StartFailed, match="wrong did not become ready"):
        running.supervisor.wait_ready(["next", "wrong"], 10)


def test_a_start_that_fails_again_and_again_is_given_up_with_the_log(start) -> None:
    running = start(shell("crash", "echo 'the reason'; exit 1", probe=never), shell("next", FOREVER, "crash"))
    with pytest.raises(StartFailed, match=r"(?s)crash did not become ready.*3 restarts.*the reason"):
        running.supervisor.wait_ready(["crash", "next"], 20, max_restarts=2)


def test_a_process_that_never_becomes_ready_is_killed_and_started_again(start) -> None:
    running = start(shell("slow", FOREVER, probe=never, start_deadline=0.2))
    wait_for(lambda: running.info("slow").restarts >= 2, what="the second restart")


def test_a_probe_that_answered_for_the_process_before_does_not_count_for_the_next(start) -> None:
    release = threading.Event()

    def late_yes(_: float) -> bool:
        return release.wait(20)

    running = start(shell("service", FOREVER, probe=late_yes))
    wait_for(lambda: running.info("service").state is State.STARTING)
    running.supervisor.kill("service")
    running.supervisor.stop_process("service")
    release.set()
    assert running.info("service").state is State.STOPPED


def test_stops_in_reverse_order_also_through_a_task(start, tmp_path: Path) -> None:
    order = tmp_path / "order"

    def polite(name: str, *after: str) -> ProcessSpec:
        return shell(
            name,
            f"trap 'sleep 0.1; echo {name} >> {order}; exit 0' TERM; echo up; {FOREVER}",
            *after,
            probe=says_up(name),
        )

    def says_up(name: str) -> Callable[[float], bool]:
        return lambda _: "up" in (tmp_path / "logs" / f"{name}.log").read_text().split("\n")

    running = start(
        polite("base"),
        shell("task", "true", "base", probe=None),
        polite("middle", "task"),
        polite("top", "middle"),
    )
    running.supervisor.wait_ready(["top"], 10)
    running.stop()
    assert order.read_text().split() == ["top", "middle", "base"]
    assert {info.state for info in running.supervisor.processes()} == {State.STOPPED, State.DONE}


def test_what_ignores_sigterm_is_killed_with_all_it_started(start) -> None:
    running = start(shell("stubborn", f"trap '' TERM; sleep 600 & {FOREVER}", stop_deadline=0.3))
    running.supervisor.wait_ready(["stubborn"], 10)
    group = wait_for(
        lambda: len(found := running.supervisor.pids("stubborn")) >= 2 and found, what="the grandchild"
    )
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began >= 0.3
    # The leader's end was waited for; the others are killed in the same moment, and end in their own.
    wait_for(lambda: not any(alive(pid) for pid in group), 10, "the end of all that it started")


def test_what_a_crashed_process_started_is_gone_before_it_is_started_again(start) -> None:
    running = start(shell("parent", f"sleep 600 & {FOREVER}"))
    running.supervisor.wait_ready(["parent"], 10)
    before = wait_for(
        lambda: len(found := running.supervisor.pids("parent")) >= 2 and found, what="the grandchild"
    )
    psutil.Process(running.info("parent").pid).kill()
    wait_for(
        lambda: running.info("parent").restarts == 1 and running.info("parent").pid, what="another start"
    )
    assert not any(alive(pid) for pid in before)


def test_stop_and_start_of_one_process_leaves_the_others_alone(start) -> None:
    running = start(shell("base", FOREVER), shell("top", FOREVER, "base"))
    running.supervisor.wait_ready(["top"], 10)
    top = running.info("top").pid
    running.supervisor.stop_process("base")
    assert running.info("base").state is State.STOPPED
    running.supervisor.start_process("base")
    running.supervisor.wait_ready(["base"], 10)
    assert running.info("base").restarts == 0
    assert running.info("top").pid == top


def test_a_command_that_does_not_exist_is_a_failure_to_start_not_an_end_of_the_supervisor(start) -> None:
    running = start(ProcessSpec("missing", ("/nowhere/at-all",), probe=never), shell("other", FOREVER))
    running.supervisor.wait_ready(["other"], 10)
    wait_for(lambda: running.info("missing").restarts >= 1)


def test_a_child_gets_the_usual_reaction_to_a_closed_pipe(start) -> None:
    """Not Python's, which ignores SIGPIPE: programs then spin on errors instead of ending."""
    running = start(shell("task", "grep SigIgn /proc/self/status || echo SigIgn: 0", probe=None))
    running.supervisor.wait_ready(["task"], 10)
    mask = running.logs.path("task").read_text().rsplit(maxsplit=1)[-1]
    assert int(mask, 16) & (1 << 12) == 0


def test_a_log_stays_below_its_limit_while_the_process_writes(start, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(logs_module, "MAX_BYTES", 1_000)
    monkeypatch.setattr("infra.runtime.supervisor.ROTATE_EVERY_S", 0.05)
    running = start(shell("talker", "while :; do echo 0123456789; sleep 0.002; done"))
    previous = tmp_path / "logs" / "talker.log.1"
    wait_for(previous.exists, what="a rotated log")
    size = running.logs.path("talker").stat().st_size
    assert size < 20_000
    assert previous.read_text().startswith("--- talker")
    wait_for(lambda: running.logs.path("talker").stat().st_size > 0, what="a line after the rotation")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_report_or_a_rotation_that_fails_does_not_end_supervision(start, monkeypatch, caplog) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Running, "_note", full)
    monkeypatch.setattr(supervisor_module, "ROTATE_EVERY_S", 0.0)
    running = start(shell("a", FOREVER))
    monkeypatch.setattr(running.logs, "rotate", full)
    running.supervisor.wait_ready(["a"], 10)
    pid = running.info("a").pid
    running.supervisor.kill("a")
    wait_for(lambda: running.info("a").pid not in (None, pid), what="another process")
    assert "could not be reported" in caplog.text
    wait_for(lambda: "cannot be rotated" in caplog.text, what="the failed rotation")
    assert caplog.text.count("log of a cannot be rotated") == 1


def test_who_waits_is_told_when_the_supervisor_itself_fails(start, monkeypatch) -> None:
    running = start(shell("a", FOREVER), shell("b", FOREVER, probe=never))
    running.supervisor.wait_ready(["a"], 10)
    child = psutil.Process(running.info("a").pid)
    monkeypatch.setattr(running.supervisor, "_is_needed", lambda _: 1 / 0)
    with pytest.raises(SupervisionEnded, match="ZeroDivisionError"):
        running.supervisor.wait_ready(["b"], 10)
    wait_for(lambda: not child.is_running(), what="the end of the child")

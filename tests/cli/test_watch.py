"""`dataflow watch` shows what the API pushes, through its restarts, and ends in order."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest

from dataflow.main import FAILED, OK, TRY_AGAIN
from infra.settings import Settings
from tests.cli.kit import Shell
from tests.helpers import wait_for
from tests.serving.api.kit import Running, State, free_port, serving

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "dataflow", "watch")


class Watching:
    """A `dataflow watch` that runs; its lines are read as they come."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: Queue[str] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for text in self.process.stdout:
            self._lines.put(text)

    def line(self) -> str:
        try:
            return self._lines.get(timeout=20)
        except Empty:
            pytest.fail(f"no line came; exit status {self.process.poll()}")

    def until(self, wanted) -> dict:
        """The first JSON line from now on that is `wanted`."""
        for _ in range(200):
            view = json.loads(self.line())
            if wanted(view):
                return view
        pytest.fail("what was waited for did not come within 200 lines")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(15)
        self._reader.join(5)
        return status


@contextmanager
def watching(*arguments: str) -> Iterator[Watching]:
    found = Watching(*arguments)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()
        found._reader.join(5)
        found.process.stdout.close()
        found.process.stderr.close()


def place(view: dict) -> str:
    """Generation and position of what is shown; behind them its id says which topics they count."""
    shown, _, world = view["id"].rpartition("-")
    assert len(world) == 8
    return shown


def test_once_shows_the_numbers_and_ends(shell: Shell, api: Running, state: State) -> None:
    state.order(123_456)
    assert shell.run("watch", "--once") == OK, shell.err
    [text] = shell.out.splitlines()
    # the log's end is 0: nothing was produced, so nothing waits
    assert text.startswith("live  gross 1,234.56  net 1,234.56  orders 1  AOV 1,234.56")
    assert text.endswith("as of g1-1")
    assert shell.run("watch", "--once", "--json") == OK
    view = json.loads(shell.out)
    assert (view["state"], place(view), view["revenue"]["gross"]) == ("live", "g1-1", "1234.56")
    assert view["as_of"]["position"] == 1


def test_once_without_numbers_fails_and_says_why(shell: Shell, api: Running, state: State) -> None:
    state.redis.unlink(*state.redis.keys(f"{state.keys.space}*"))
    assert shell.run("watch", "--once") == TRY_AGAIN
    assert "rebuilding" in shell.err


def test_without_a_key_that_may_read_it_ends_and_says_so(
    shell: Shell, environment: Settings, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = "ingest:secret-one:write,reports:secret-two:read"
    with serving(environment.replace(dataflow_api_keys=keys)) as running:
        running.wait_ready()
        monkeypatch.setenv("API_PORT", str(running.settings.api_port))
        assert shell.run("watch", "--json") == FAILED
        assert "DATAFLOW_API_KEYS" in shell.err
        monkeypatch.setenv("DATAFLOW_API_KEYS", keys)
        assert shell.run("watch", "--once") == OK, shell.err


def test_each_change_is_a_line_until_ctrl_c_which_is_no_failure(api: Running, state: State) -> None:
    with watching("--json") as watch:
        assert watch.until(lambda view: view["state"] == "live")["revenue"]["orders"] == 0
        for n in range(1, 4):
            state.order(1_000)
            assert place(watch.until(lambda v, n=n: v["revenue"]["orders"] == n)) == f"g1-{n}"
        assert watch.interrupt() == OK
        assert watch.process.stderr.read() == ""


def test_lines_for_a_log_when_there_is_no_terminal(api: Running, state: State) -> None:
    state.order(1_000)
    with watching() as watch:
        assert watch.line().startswith("live  gross 10.00")
        assert watch.interrupt() == OK


def test_a_rebuild_is_told_and_the_numbers_come_back(api: Running, state: State) -> None:
    state.order(1_000)
    with watching("--json") as watch:
        watch.until(lambda view: view["state"] == "live")
        state.redis.unlink(*state.redis.keys(f"{state.keys.space}*"))
        state.redis.publish(state.keys.channel, "")
        lost = watch.until(lambda view: view["state"] == "rebuilding")
        assert lost["revenue"]["gross"] == "10.00"
        state.begin()
        state.order(1_000)
        assert place(watch.until(lambda view: view["state"] == "live")) == "g1-1"


def test_it_outlives_the_api_and_resumes_where_it_was(
    environment: Settings, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("API_PORT", str(port))
    state.order(1_000)
    with ExitStack() as stack:
        with serving(environment, port) as first:
            first.wait_ready()
            watch = stack.enter_context(watching("--json"))
            assert place(watch.until(lambda view: view["state"] == "live")) == "g1-1"
        gone = watch.until(lambda view: view["state"] == "disconnected")
        assert gone["revenue"]["orders"] == 1
        state.order(1_000)
        with serving(environment, port) as second:
            second.wait_ready()
            back = watch.until(lambda view: view["state"] == "live")
            assert (place(back), back["revenue"]["orders"]) == ("g1-2", 2)
            assert back["as_of"]["position"] == 2
            assert watch.interrupt() == OK


def test_on_a_terminal_it_draws_and_leaves_the_terminal_as_it_was(api: Running, state: State) -> None:
    state.order(123_456)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        PROGRAM,
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "25"},
    )
    os.close(slave)
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                chunk = os.read(master, 65_536)
            except OSError:  # how a pty says that the other side has gone
                return
            if not chunk:
                return
            seen.extend(chunk)

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        try:
            wait_for(lambda: b"1,234.56" in seen and b"exact" in seen, what="the picture")
        except AssertionError as error:
            raise AssertionError(f"{error}: it drew {bytes(seen[-2000:])!r}") from None
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == OK
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        os.close(master)
    assert b"Traceback" not in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")  # the cursor is shown again

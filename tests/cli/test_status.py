"""`dataflow status` says in a few lines how the live numbers fare, from what the API says of itself."""

import json
import os
import time

import pytest

from dataflow.commands.status import api_lines
from dataflow.main import OK
from infra.runtime.birth import birth
from infra.runtime.run_state import ADDRESSES, Run, write_run
from infra.settings import Settings
from tests.cli.kit import Shell
from tests.serving.api.kit import Running, State


@pytest.fixture
def run(api: Running, environment: Settings) -> Run:
    """A run that consists of this process and the API in it."""
    addresses = {name: getattr(api.settings, name) for name in ADDRESSES}
    started = birth()
    found = Run("r", os.getpid(), started, environment.dataflow_env, time.time(), api.url, addresses, [])
    environment.state_dir.mkdir(parents=True)
    write_run(environment.state_dir, found)
    return found


def test_lag_freshness_and_exactness_are_a_line_each(shell: Shell, run: Run, state: State) -> None:
    state.order(1_000)
    state.apply("orders", verdict="refused", records=2)
    assert shell.run("status") == OK, shell.err
    lines = dict(line.split(None, 1) for line in shell.out.strip().splitlines()[-5:])
    assert lines["state"] == "live"
    assert lines["lag"] == "0 behind"
    assert lines["freshness"] == "0 ms, newest event 2026-05-17T09:30:00.000000Z"
    assert lines["exactness"] == "exact: 1 changed, 2 refused"
    assert lines["as"] == "of      g1-3"
    assert shell.run("status", "--json") == OK
    assert json.loads(shell.out)["api"]["exactness"]["exact"] is True


def test_commands_find_the_api_of_a_run_by_themselves(
    shell: Shell, run: Run, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.order(1_000)
    monkeypatch.setenv("API_PORT", "9")
    assert shell.run("watch", "--once", "--json") == OK, shell.err
    assert json.loads(shell.out)["revenue"]["gross"] == "10.00"
    assert shell.run("metrics", "revenue", "--grain", "all", "--json") == OK, shell.err
    assert json.loads(shell.out)["rows"][0]["gross"] == "10.00"


def test_a_rebuild_is_told_with_its_reason(shell: Shell, run: Run, state: State) -> None:
    state.redis.unlink(*state.redis.keys(f"{state.keys.space}*"))
    assert shell.run("status") == OK
    assert "state      rebuilding: Redis is" in shell.out
    assert "None" not in shell.out


def test_what_is_held_and_what_waits_is_named() -> None:
    document = {
        "state": "live",
        "detail": None,
        "lag": {"records_behind": 12, "by_topic": {"orders": 12, "payments": 0}, "stale": False},
        "freshness": {"freshness_ms": 1500, "newest_event_time": None},
        "exactness": {"exact": False, "counts": {"changed": 0}, "held": {"orders/1": "a hole at 7"}},
        "as_of": None,
    }
    assert api_lines(document) == [
        "state      live",
        "lag        12 behind: orders 12",
        "freshness  1,500 ms",
        "exactness  held: orders/1 (a hole at 7)",
    ]
    assert api_lines({"state": "refused", "detail": "a key is needed"}) == [
        "state      refused: a key is needed"
    ]

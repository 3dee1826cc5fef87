"""The command line: help that helps, exit codes that scripts can rely on, one clear message for an error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.commands.topics import describe
from dataflow.main import COMMANDS, FAILED, NOT_RUNNING, OK, USAGE, main
from infra.kafka import admin, ensure_topics
from infra.runtime.platform import Platform
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from schemas.topics import Topic
from tests.helpers import isolated_settings

ROOT = Path(__file__).parents[2]
OWN = ("up", "status", "topics", "reset", "doctor")


@pytest.fixture(autouse=True)
def no_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAFLOW_ENV_FILE", "")
    monkeypatch.setenv("DATAFLOW_HOME", str(tmp_path))


@pytest.mark.parametrize("name", OWN)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture) -> None:
    assert main([name, "-h"]) == OK
    out = capsys.readouterr().out
    assert f"Usage: dataflow {name}" in out
    assert "Examples:" in out
    assert "--env NAME" in out


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == OK
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert (
        "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not running, 75 a service does not answer now." in out
    )


@pytest.mark.parametrize("arguments", [["bogus"], ["status", "--bogus"], ["--bogus", "status"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(arguments) == USAGE
    assert "Error" in capsys.readouterr().err


def test_wrong_setting_is_one_message_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("API_PORT", "http")
    assert main(["status"]) == FAILED
    error = capsys.readouterr().err
    assert "API_PORT" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("arguments", [["status"], ["topics"], ["status", "--json"]])
def test_what_needs_a_running_platform_says_so_with_exit_code_3(
    arguments: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert main(arguments) == NOT_RUNNING
    assert "dataflow up --env demo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--env", "one", "status"], "one"),
        (["status", "--env", "two"], "two"),
        (["--env", "one", "status", "--env", "two"], "two"),
        (["status"], "three"),
    ],
)
def test_environment_before_or_after_the_command_or_from_the_shell(
    arguments: list[str], env: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("DATAFLOW_ENV", "three")
    assert main(arguments) == NOT_RUNNING
    assert f"environment '{env}'" in capsys.readouterr().err


def test_module_and_function_are_the_same_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dataflow", "status"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == NOT_RUNNING
    assert done.stderr.startswith("Error: environment 'demo' does not run")


def test_status_shows_processes_of_a_running_platform(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    settings = isolated_settings(tmp_path)
    with Platform(settings, ("valkey",), demo=("sleep", "600"), preferred_ports=False) as platform:
        assert main(["status", "--env", "test", "--json"]) == OK
        document = json.loads(capsys.readouterr().out)
        assert main(["status", "--env", "test"]) == OK
        table = capsys.readouterr().out
    assert document["env"] == "test"
    assert document["addresses"]["redis_port"] == platform.settings.redis_port
    by_name = {row["name"]: row for row in document["processes"]}
    assert set(by_name) == {"supervisor", "valkey", "demo"}
    assert by_name["valkey"]["port"] == platform.settings.redis_port
    assert by_name["valkey"]["state"] == "ready"
    assert by_name["valkey"]["memory_mb"] >= 1
    assert by_name["demo"]["pids"] == [by_name["demo"]["pid"]]
    assert [line.split()[0] for line in table.splitlines() if "ready" in line] == [
        "supervisor",
        "valkey",
        "demo",
    ]


def test_reset_is_refused_while_it_runs_and_removes_everything_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = isolated_settings(tmp_path)
    with Platform(settings, ("valkey",), preferred_ports=False):
        assert main(["reset", "--env", "test", "--yes"]) == FAILED
        assert "runs already" in capsys.readouterr().err
    assert main(["reset", "--env", "test", "--yes"]) == OK
    assert not settings.state_dir.exists()
    assert main(["reset", "--env", "test", "--yes"]) == OK


def test_reset_touches_no_directory_that_is_not_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.tex").write_text("years of work")
    assert main(["reset", "--yes"]) == FAILED
    assert "DATAFLOW_HOME" in capsys.readouterr().err
    assert (tmp_path / "demo" / "thesis.tex").exists()


def test_doctor_finds_a_prepared_machine_ready(capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor", "--json"]) == OK
    document = json.loads(capsys.readouterr().out)
    assert document["ready"] is True
    checks = {finding["check"] for finding in document["findings"]}
    assert checks == {"Python", "system", "memory", "disk", "Java", "jars", "ports", "open files", "clock"}


def test_doctor_says_what_to_do_when_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    assert main(["doctor"]) == FAILED
    out = capsys.readouterr().out
    assert "BLOCK  jars" in out
    assert "make setup" in out


def test_topics_shows_this_environment_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    client = admin(settings.kafka_bootstrap_servers)
    mine, other = f"{settings.topic_prefix}orders", f"x{settings.topic_prefix}orders"
    ensure_topics(client, {name: Topic(name, "", {"retention.ms": "-1"}) for name in (mine, other)}, 3, 1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    assert main(["topics", "--json", "--env", settings.dataflow_env]) == OK
    [topic] = json.loads(capsys.readouterr().out)["topics"]
    assert topic["name"] == mine
    assert topic["partitions"] == [{"partition": p, "start": 0, "end": 0} for p in range(3)]
    assert topic["config"] == {"retention.ms": "-1"}
    assert {each["name"] for each in describe(client, "")} >= {mine, other, "kafkasql-journal"}


def test_up_without_jars_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    assert main(["up"]) == FAILED
    assert "make setup" in capsys.readouterr().err


def test_up_ends_with_an_error_when_its_supervisor_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    # No number can be added to this deadline. (Other supervisors run in this process.)
    broken = ProcessSpec("first", ("sleep", "600"), start_deadline=None)
    monkeypatch.setattr(Platform, "_specs", lambda *_: [broken])
    assert main(["up", "--env", "test"]) == FAILED
    error = capsys.readouterr().err
    assert "the supervisor failed" in error
    assert "supervisor.log" in error

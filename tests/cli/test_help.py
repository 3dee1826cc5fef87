"""Every command says what it does, with examples, and what scripts can rely on."""

import pytest

from dataflow.main import COMMANDS, FAILED, NOT_RUNNING, OK, USAGE
from tests.cli.kit import Shell

GROUPS = {
    "dlq": ("list", "show", "redrive"),
    "generation": ("list", "new"),
    "lake": ("resume", "barrier", "rebuild-topic"),
    "replay": (
        "plan",
        "run",
        "status",
        "follow",
        "diff",
        "pause",
        "resume",
        "cancel",
        "promote",
        "rollback",
        "gc",
    ),
    "schemas": ("list", "check", "register"),
}
LEAVES = [(name, *sub) for name in COMMANDS for sub in ([(s,) for s in GROUPS.get(name, ())] or [()])]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_help_with_examples_and_an_environment(path: tuple[str, ...], shell: Shell) -> None:
    assert shell.run(*path, "--help") == OK
    assert f"Usage: dataflow {' '.join(path)}" in shell.out
    assert "Examples:" in shell.out
    assert "--env NAME" in shell.out


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_without_a_command_shows_its_help(group: str, shell: Shell) -> None:
    assert shell.run(group, "--help") == OK
    assert all(f"\n  {name} " in shell.out for name in GROUPS[group])
    assert shell.run(group, "bogus") == USAGE


@pytest.mark.parametrize(
    "arguments",
    [
        ("dlq", "list"),
        ("dlq", "show", "orders/0/1"),
        ("dlq", "redrive"),
        ("schemas", "list"),
        ("generation", "list"),
        ("replay", "plan"),
        ("replay", "run", "--yes"),
        ("replay", "status"),
        ("replay", "follow"),
        ("replay", "promote", "g2"),
        ("replay", "rollback"),
        ("replay", "gc", "--yes"),
        ("generation", "new", "--yes"),
        ("metrics", "revenue"),
        ("tables",),
        ("tables", "orders", "--rows", "1"),
        ("verify",),
        ("lake", "resume"),
        ("lake", "barrier"),
        ("lake", "rebuild-topic", "orders", "--to", "x"),
        ("replay", "diff"),
        ("watch", "--once"),
        ("watch", "--json"),
    ],
    ids=" ".join,
)
def test_what_needs_a_running_platform_says_so_with_exit_code_3(
    arguments: tuple[str, ...], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_PORT", "9")  # the port of "discard", where nothing listens
    assert shell.run(*arguments, "--env", "nowhere") == NOT_RUNNING
    assert "dataflow up --env nowhere" in shell.err
    assert shell.out == ""


def test_a_disk_that_is_full_is_told_in_a_line(shell: Shell, monkeypatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device", "code/new")

    monkeypatch.setattr("dataflow.main.cli.main", full)
    assert shell.run("topics") == FAILED
    assert shell.err == "Error: No space left on device: code/new\n"

"""`dataflow status`: the processes of an environment and, from its API, lag, freshness and exactness."""

import time
from typing import Any

import click
import httpx
import psutil

from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.runtime.child import group_members
from infra.runtime.errors import NotRunning
from infra.runtime.run_state import Run, read_run
from infra.settings import Settings

CPU_SAMPLE_S = 0.5
API_TIMEOUT_S = 5.0


@click.command(epilog=examples("dataflow status", "dataflow status --json | jq .api.lag"))
@json_option
@settings_option
def command(settings: Settings, as_json: bool) -> None:
    """What runs, and how it fares: processes, ports, restarts, CPU, memory; lag, freshness, exactness."""
    run = read_run(settings.state_dir)
    if run is None or not run.is_alive():
        raise NotRunning(
            f"environment {settings.dataflow_env!r} does not run (state directory {settings.state_dir}). "
            f"Start it with `dataflow up --env {settings.dataflow_env}`."
        )
    processes = [
        {
            "name": "supervisor",
            "state": "ready",
            "pid": run.pid,
            "since": run.started,
            "restarts": 0,
            "port": None,
        }
    ]
    processes = with_usage(processes + run.processes)
    api = api_status(settings, run) if run.url else None
    if as_json:
        document = {
            "env": run.env,
            "url": run.url,
            "started": run.started,
            "state_dir": str(settings.state_dir),
        }
        print_json(document | {"addresses": run.addresses, "processes": processes, "api": api})
        return
    click.echo(f"environment {run.env}, {run.url or 'no API'}, up {_duration(time.time() - run.started)}\n")
    print_table(
        ("PROCESS", "STATE", "PID", "PORT", "RESTARTS", "CPU %", "MEMORY MB", "FOR"),
        (
            (
                p["name"],
                p["state"],
                p["pid"],
                p["port"],
                p["restarts"],
                p["cpu_percent"],
                p["memory_mb"],
                _duration(time.time() - p["since"]),
            )
            for p in processes
        ),
    )
    if run.url:
        click.echo("\n" + ("the API does not answer" if api is None else _describe(api)))


def with_usage(processes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each process with the CPU (percent of one core, over half a second) and memory of all it started."""
    trees = {p["name"]: _tree(p) for p in processes}
    before = {name: _cpu_seconds(tree) for name, tree in trees.items()}
    began = time.monotonic()
    time.sleep(CPU_SAMPLE_S)  # the sample itself: CPU use is a difference over time
    elapsed = time.monotonic() - began
    return [
        p
        | {
            "cpu_percent": round(
                max(0.0, _cpu_seconds(trees[p["name"]]) - before[p["name"]]) / elapsed * 100, 1
            ),
            "memory_mb": round(_memory(trees[p["name"]]) / 2**20),
            "pids": [process.pid for process in trees[p["name"]]],
        }
        for p in processes
    ]


def api_status(settings: Settings, run: Run) -> dict[str, Any] | None:
    """What GET /v1/status says, None when the API does not answer with it."""
    key = next((key for key in settings.api_keys), None)
    headers = {"Authorization": f"Bearer {key.secret}"} if key else {}
    try:
        answer = httpx.get(f"{run.url}/v1/status", timeout=API_TIMEOUT_S, trust_env=False, headers=headers)
        return answer.json()
    except (httpx.HTTPError, ValueError):
        return None


def _tree(row: dict[str, Any]) -> list[psutil.Process]:
    # The supervisor shares its group with the shell's job; its children are listed for themselves.
    pids = [row["pid"]] if row["name"] == "supervisor" else group_members(row["pid"]) if row["pid"] else []
    found = []
    for pid in pids:
        try:
            found.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return found


def _cpu_seconds(tree: list[psutil.Process]) -> float:
    total = 0.0
    for process in tree:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def _memory(tree: list[psutil.Process]) -> int:
    total = 0
    for process in tree:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(max(0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    )


def _describe(value: Any, indent: int = 0) -> str:
    """A JSON document as indented lines; this command need not know what the API adds."""
    pad = "  " * indent
    if not isinstance(value, dict):
        return f"{pad}{value}"
    lines = []
    for key, each in value.items():
        nested = isinstance(each, dict) and each
        lines.append(f"{pad}{key}:" + ("" if nested else f" {each}"))
        if nested:
            lines.append(_describe(each, indent + 1))
    return "\n".join(lines)

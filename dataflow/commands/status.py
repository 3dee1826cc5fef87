"""`dataflow status`: the processes of an environment and, from its API, lag, freshness, exactness and the lake."""

import time
from typing import Any

import click
import httpx
import psutil

from dataflow.api import api_get, api_headers, check
from dataflow.commands.tables import show_catalogue
from dataflow.lake_state import lake_status, lake_text
from dataflow.live_text import exactness_text, freshness_text, lag_text
from dataflow.options import examples, json_option, print_json, print_table, printable, settings_option
from infra.runtime.child import group_members
from infra.runtime.errors import NotRunning
from infra.runtime.run_state import Run, read_run
from infra.settings import Settings
from schemas.errors import DataflowError

CPU_SAMPLE_S = 0.5
API_TIMEOUT_S = 5.0
LAKE = ("batch", "records_behind", "by_topic", "freshness_ms", "newest_record_time", "stale", "as_of")


@click.command(
    epilog=examples(
        "dataflow status", "dataflow status --tables", "dataflow status --json | jq .api.lag.records_behind"
    )
)
@click.option(
    "--tables", is_flag=True, help="Also each of the lake's tables: rows, size, version, when written."
)
@json_option
@settings_option
def command(settings: Settings, tables: bool, as_json: bool) -> None:
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
    told = api_lake(settings, run) or {}
    # The live one's, once somebody says which that is.
    number = int(told["as_of"]["generation"].removeprefix("g")) if told else run.serves
    lake = {"job": lake_status(settings, number), **told}
    catalogue = api_get(settings, "/v1/tables") if tables else None
    if as_json:
        document = {
            "env": run.env,
            "url": run.url,
            "started": run.started,
            "state_dir": str(settings.state_dir),
        }
        document |= {"addresses": run.addresses, "processes": processes, "api": api, "lake": lake}
        print_json(document | ({} if catalogue is None else {"tables": catalogue["tables"]}))
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
        click.echo("\n" + ("the API does not answer" if api is None else "\n".join(api_lines(api))))
    if text := lake_text(lake["job"], lake if "batch" in lake else None, time.time()):
        click.echo(f"lake       {text}")
    if catalogue is not None:
        click.echo()
        show_catalogue(catalogue, False)


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
    """What GET /v1/status says, None when the API does not answer; a refusal appears as its state and detail."""
    try:
        answer = httpx.get(
            f"{run.url}/v1/status", timeout=API_TIMEOUT_S, trust_env=False, headers=api_headers(settings)
        )
        check(answer)
        return answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    except DataflowError as error:
        return {"state": "refused", "detail": str(error)}


def api_lake(settings: Settings, run: Run) -> dict[str, Any] | None:
    """What GET /v1/lake says of the newest manifest; None without a lake, or without an answer."""
    if not run.url:
        return None
    try:
        answer = httpx.get(
            f"{run.url}/v1/lake?limit=1",
            timeout=API_TIMEOUT_S,
            trust_env=False,
            headers=api_headers(settings),
        )
        check(answer)
        found = answer.json()
    except (httpx.HTTPError, ValueError, DataflowError):
        return None
    return {name: found[name] for name in LAKE}


def verified_text(found: dict[str, Any]) -> str:
    """What the second computation found last."""
    ago = f"{_duration(found['age_ms'] / 1000)} ago"
    if found["exact"] is None:
        return printable(f"nothing compared {ago}: {found['detail']}")
    what = f"{found['records']:,} records, manifest {found['manifest']:,}"
    if not found["exact"]:
        names = ", ".join(each["table"] for each in found["differences"])
        return printable(f"NOT exact {ago}, {what}: {names}")
    if found["live"]:
        return f"exact {ago}, lake and live, {what}"
    return printable(f"exact {ago}, lake, {what}; live not or not all compared: {found['detail']}")


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


def api_lines(api: dict[str, Any]) -> list[str]:
    """What GET /v1/status says, one line each: state, lag, freshness, exactness, as of."""
    detail = f": {printable(api['detail'])}" if api.get("detail") else ""
    facts = {"state": api["state"] + detail}
    lag, freshness, exactness, as_of = (api.get(n) for n in ("lag", "freshness", "exactness", "as_of"))
    if lag:
        behind = ", ".join(f"{topic} {n:,}" for topic, n in lag["by_topic"].items() if n)
        facts["lag"] = lag_text(lag) + (f": {behind}" if behind else "")
    if freshness:
        newest = freshness["newest_event_time"]
        facts["freshness"] = freshness_text(freshness) + (f", newest event {newest}" if newest else "")
    if exactness:
        counts = ", ".join(f"{n:,} {verdict}" for verdict, n in exactness["counts"].items() if n)
        facts["exactness"] = exactness_text(exactness) + (f": {counts}" if counts else "")
    if api.get("verified"):
        facts["verified"] = verified_text(api["verified"])
    if as_of:
        facts["as of"] = f"{as_of['generation']}-{as_of['position']}"
    return [f"{name:<9}  {text}" for name, text in facts.items()]

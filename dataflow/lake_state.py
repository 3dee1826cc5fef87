"""What the lake job says of itself, from outside: its row in run.json and its status file.

Reads `{state_dir}/run.json` and `{state_dir}/status/lake.json`.
"""

import json
import time
from typing import Any

from dataflow.options import printable
from infra.runtime.run_state import read_run
from infra.runtime.spec import State
from infra.settings import Settings

PROCESS = "lake"
# The job writes its status twice a second while its query runs; a batch in between does not hold that up.
SILENT_SECONDS = 10.0
# One that is about to start again counts as running.
ENDED = (State.FAILED, State.STOPPED)


def lake_status(settings: Settings) -> dict[str, Any] | None:
    """What the lake job last wrote: state, at (UTC seconds), batch, generation, kafka_time (µs). None: nothing."""
    try:
        status = json.loads((settings.state_dir / "status" / f"{PROCESS}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) and "state" in status else None


def lake_runs(settings: Settings) -> str | None:
    """In words, the lake job that runs; None if none does."""
    run = read_run(settings.state_dir)
    if run is not None and run.is_alive():
        for row in run.processes:
            if row["name"] == PROCESS:
                return None if row["state"] in ENDED else f"process {row['pid']}, {row['state']}"
    status = lake_status(settings)
    if status is None or status["state"] == "stopping" or time.time() - status["at"] > SILENT_SECONDS:
        return None
    return f"{status['state']} {time.time() - status['at']:.0f} s ago"


def lake_text(status: dict[str, Any] | None, api: dict[str, Any] | None, now: float) -> str | None:
    """One line of `dataflow status`: how far the lake is, by its API if that answers; None if there never was one."""
    if api is not None:
        age = api["freshness_ms"]
        parts = [
            f"batch {api['batch']:,}",
            f"{api['records_behind']:,} behind" + (" (stale)" if api["stale"] else ""),
            "nothing is in it yet" if age is None else f"freshness {age / 1000:,.1f} s",
        ]
        return ", ".join(parts)
    if status is None:
        return None
    batch = "no batch yet" if status.get("batch") is None else f"batch {status['batch']:,}"
    text = f"{batch}, {printable(str(status['state']))} {max(0, now - status['at']):,.0f} s ago"
    newest = status.get("kafka_time")
    return text + (f", newest record taken {max(0, now - newest / 1e6):,.0f} s ago" if newest else "")

"""What the lake job says of itself, from outside: its row in run.json and its status file.

Reads `{state_dir}/run.json` and `{state_dir}/status/lake.json`, or `lake@g2.json` for a generation that began later.
"""

import json
import time
from typing import Any

from dataflow.options import printable
from infra.runtime.run_state import read_run
from infra.runtime.spec import State, suffix
from infra.settings import Settings

# The job writes its status twice a second while its query runs; a batch in between does not hold that up.
SILENT_SECONDS = 10.0
# One that is about to start again counts as running.
ENDED = (State.FAILED, State.STOPPED)


def lake_process(settings: Settings, generation: int | None) -> str:
    """The name of a generation's lake job: those that serve the one which the platform began with have none in it."""
    run = read_run(settings.state_dir)
    begun_with = run.serves if run is not None and run.is_alive() else None
    served = generation is None or begun_with in (None, generation)
    return "lake" if served else "lake" + suffix(f"g{generation}")


def lake_status(settings: Settings, generation: int | None) -> dict[str, Any] | None:
    """What its lake job last wrote: state, at (UTC seconds), batch, generation, kafka_time (µs). None: nothing."""
    try:
        file = settings.state_dir / "status" / f"{lake_process(settings, generation)}.json"
        status = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) and "state" in status else None


def lake_runs(settings: Settings, generation: int) -> str | None:
    """In words, the lake job of a generation that runs; None if none does."""
    run, name = read_run(settings.state_dir), lake_process(settings, generation)
    if run is not None and run.is_alive():
        for row in run.processes:
            if row["name"] == name:
                return None if row["state"] in ENDED else f"process {row['pid']}, {row['state']}"
    status = lake_status(settings, generation)
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

"""The import of real data: `dataflow import` into an environment that is otherwise empty."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench
from tests.bench.workers import BenchError

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data" / "online-retail"
MAPPING = ROOT / "examples" / "online-retail" / "mapping.yaml"
METHOD = """`dataflow import` of the *Online Retail* files (examples/online-retail) into an environment that
is otherwise empty, while the platform counts. The first rate is the command's own; the second ends when REST
has counted every event. Both begin when the command is started, so its own start is in the second."""


def measure(bench: Bench) -> Figures:
    files = sorted(DATA.glob("*.csv.gz"))[: bench.pick(None, 1)]
    if not files:
        return {"skipped": "the data is not on this machine (../shared/data/online-retail)"}
    with bench.stage("import") as stage:
        command = [sys.executable, "-m", "dataflow", "import", *map(str, files)]
        command += ["--mapping", str(MAPPING), "--json"]
        environ = {**os.environ, **stage.settings.environ()}
        base, began = stage.produced(), time.monotonic()
        with stage.usage() as usage:
            done = subprocess.run(
                command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=1_800
            )
            if done.returncode:
                raise BenchError(f"dataflow import ended with {done.returncode}: {done.stderr[-2000:]}")
            account = json.loads(done.stdout)
            events = sum(account["events"].values())
            seconds = stage.await_counted(base + events) - began
    lines = account["total"]["lines"]
    return {
        "files": len(files),
        "lines": lines,
        "events": events,
        "into_kafka_s": account["seconds"],
        "lines_per_second": account["rows_per_second"],
        "counted_s": round(seconds, 1),
        "lines_per_second_counted": round(lines / seconds),
        "events_per_second_counted": round(events / seconds),
        "usage": usage,
    }


def tables(figures: Figures) -> list[Table]:
    if "skipped" in figures:
        return [Table("", ("", "figure"), [["skipped", figures["skipped"]]])]
    rows = [
        ["lines", figures["lines"]],
        ["events", figures["events"]],
        ["lines/s into Kafka", figures["lines_per_second"]],
        ["lines/s until all are counted in REST", figures["lines_per_second_counted"]],
        ["events/s until all are counted in REST", figures["events_per_second_counted"]],
        ["seconds into Kafka", figures["into_kafka_s"]],
        ["seconds until all are counted", figures["counted_s"]],
    ]
    return [Table(f"{figures['files']} files", ("", "figure"), rows)]


PART = Part("import", "Import", METHOD, measure, tables)

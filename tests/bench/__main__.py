"""`python -m tests.bench [NAME …] [--quick]`: measure all parts, or some, print tables, write them down.

Writes tests/bench/results.json and docs/benchmarks.md; a quick run writes to .dataflow/bench-quick instead, because its
figures mean little. Of a run of some parts, those replace theirs in the file, but for the last ones of other
processors; each says where it was measured.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from infra.settings import Settings
from schemas.errors import DataflowError
from tests.bench.machine import ROOT, commit, load_average, machine, versions
from tests.bench.parts import PARTS
from tests.bench.render import Section, markdown, page
from tests.bench.stage import Bench

RESULTS = ROOT / "tests" / "bench" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
QUICK = ROOT / ".dataflow" / "bench-quick"


def main() -> int:
    """Measure, one part after the other; each is written down as soon as it is there."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the whole platform.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"parts: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="shorter and smaller, to see that it works")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    results_file, page_file = RESULTS, PAGE
    if asked.quick:
        QUICK.mkdir(parents=True, exist_ok=True)
        results_file, page_file = QUICK / "results.json", QUICK / "benchmarks.md"
    results = known_results(results_file)
    failed = []
    for name in asked.names or PARTS:
        print(f"{name} (load average {load_average()})", flush=True)
        # Figures from before do not stand in for those that could not be taken.
        before = results["parts"].pop(name, None)
        try:
            results["parts"][name] = fresh = measure(name, asked.quick)
            fresh["elsewhere"] = elsewhere(before, fresh)
        except DataflowError as error:
            print(f"Error: {name}: {error}", file=sys.stderr, flush=True)
            failed.append(name)
            if others := elsewhere(before, {"machine": machine()}):
                results["parts"][name] = {**others[0], "elsewhere": others[1:]}
        else:
            for table in PARTS[name].tables(results["parts"][name]["figures"]):
                print(f"\n{markdown(table)}\n", flush=True)
        results_file.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2) + b"\n")
        page_file.write_text(render(results), "utf-8")
    print(f"{results_file}\n{page_file}")
    return 1 if failed else 0


def known_results(file: Path) -> dict[str, Any]:
    """What the file holds of other parts."""
    try:
        return {"parts": dict(orjson.loads(file.read_bytes())["parts"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"parts": {}}


def measure(name: str, quick: bool) -> dict[str, Any]:
    """One part, in a directory that is removed afterwards, or kept for a look at its logs if the part fails."""
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit(),
        "command": f"python -m tests.bench {name}" + (" --quick" if quick else ""),
        "load_average": load_average(),
        "machine": machine(),
        "versions": versions(Settings.load({"DATAFLOW_ENV_FILE": ""})),
    }
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="dataflow-bench-"))
    try:
        figures = PARTS[name].measure(Bench(directory, quick))
    except DataflowError:
        print(f"the logs are in {directory}", file=sys.stderr)
        raise
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    shutil.rmtree(directory, ignore_errors=True)
    return {**about, "seconds": round(time.monotonic() - began, 1), "figures": figures}


def elsewhere(before: Mapping[str, Any] | None, fresh: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a part's runs up to now the newest one of each other processor: a slower machine says nothing of those."""
    runs = [] if before is None else [before, *before.get("elsewhere", ())]
    by_cpu: dict[str, dict[str, Any]] = {}
    for run in runs:
        stripped = {name: value for name, value in run.items() if name != "elsewhere"}
        by_cpu.setdefault(run["machine"]["cpu"], stripped)
    return [run for cpu, run in by_cpu.items() if cpu != fresh["machine"]["cpu"]]


def render(results: dict[str, Any]) -> str:
    """The page for what has been measured so far, in the order of the parts."""
    sections = []
    for name, part in PARTS.items():
        if newest := results["parts"].get(name):
            runs = [(run, part.tables(run["figures"])) for run in (newest, *newest.get("elsewhere", ()))]
            sections.append(Section(part.title, part.method, runs, part.explanation))
    return page(sections)


if __name__ == "__main__":
    sys.exit(main())

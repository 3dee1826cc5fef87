"""From producing a record until it is in gold, and what the live path takes at the same time."""

import time
from typing import Any

from infra.generation import current_generation
from infra.runtime.platform import ALL, Platform
from infra.settings import Settings
from replay.verify.verify import newest_manifest
from tests.bench.figures import Sightings, percentile, spread, waits
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import SPREAD, Table, spread_rows, usage_table
from tests.bench.stage import Bench, Stage
from tests.bench.watching import Notes, push
from tests.bench.workers import Inside, Worker, wait_until

RATE = 1_000
LINGER_MS = 1
SEED = 51
LOOK_SECONDS = 0.2
WARM_SECONDS = 300
METHOD = f"""The demo mix at {RATE:,} records a second through the whole platform with its settings as they
come, the lake among them, after five minutes of the same (before 30 November 2026: 90 s): so long the JVM of a process
at low priority compiles, where little is left of two cores. A record's time starts when it is handed to the producer.
It ends, for gold, when a reader that looks every {LOOK_SECONDS} s finds a manifest that covers its offset; for push,
when a client of `/v1/live` has received a snapshot that does."""


def measure(bench: Bench) -> Figures:
    warm, window = bench.pick(WARM_SECONDS, 20), bench.pick(120, 20)
    with (
        Platform(bench.settings("lake-latency"), ALL, preferred_ports=False) as platform,
        Stage(platform) as stage,
    ):
        # The first batches pay for a cold JVM.
        settings = stage.settings
        first = prepare(settings, stage.directory / "first", 500, 500, SEED + 1)
        with Worker(produce, settings, first, 500, LINGER_MS, False) as load:
            load.result()
        stage.await_counted(500, 300)
        wait_until(lambda: in_lake(settings) >= 500, 300, "the first records in the lake")
        file = prepare(settings, stage.directory / "load", RATE * (warm + window), RATE, SEED)
        target = stage.produced() + RATE * (warm + window)
        bench.say(f"{RATE:,}/s: {warm} s to warm up, {window} s measured")
        with (
            Worker(push, stage.url) as pushed,
            Worker(gold, settings) as lake,
            stage.usage() as usage,
            Worker(produce, settings, file, RATE, LINGER_MS, True) as load,
        ):
            made = load.result(warm + window + 120)
            wait_until(lambda: min(pushed.count, lake.count) >= target, 120, "the last record in gold")
            seen = {}
            for name, worker in (("pushed", pushed), ("gold", lake)):
                worker.stop()
                seen[name] = worker.result()["seen"]
    records = [r for r in made["log"] if r.at >= made["began"] + warm]
    figures: Figures = {"rate": RATE, "seconds": window, "usage": usage, "batches": len(seen["gold"])}
    for name, each in seen.items():
        found, missing = waits(records, Sightings(each))
        p95 = round(percentile(sorted(found), 0.95), 1) if found else None
        figures[name] = {**spread(found), "p95": p95, "missing": missing}
    return figures


def in_lake(settings: Settings) -> int:
    """How many records are in the lake."""
    found = newest_manifest(settings, current_generation(settings).name)
    return 0 if found is None else sum(found.counts.values())


def gold(inside: Inside, settings: Settings) -> dict[str, Any]:
    """A reader of the newest manifest."""
    notes, generation = Notes(inside), current_generation(settings).name
    inside.ready()
    while not inside.stopped():
        found = newest_manifest(settings, generation)
        if found is not None:
            notes.offsets(time.monotonic(), dict(found.until))
        time.sleep(LOOK_SECONDS)
    return notes.result()


def tables(figures: Figures) -> list[Table]:
    rows = spread_rows(
        {"produced → in gold": figures["gold"], "produced → pushed (SSE), beside it": figures["pushed"]}
    )
    missing = figures["gold"]["missing"] + figures["pushed"]["missing"]
    notes = [f"p95 until in gold: {figures['gold']['p95']:,} ms; {figures['batches']} batches were seen"]
    notes += [f"{missing:,} records were never seen"] if missing else []
    caption = f"{figures['rate']:,} records/s, {figures['seconds']} s, in ms"
    return [
        Table(caption, ("", *SPREAD), rows, notes),
        usage_table("What that took, the producing of the records not counted", figures["usage"]),
    ]


PART = Part("lake-latency", "From event to gold", METHOD, measure, tables)

"""How fast the lake works off what is in the topics, and where the time goes."""

import json
import time

from deltalake import DeltaTable

from infra.generation import current_generation
from infra.runtime.platform import SERVICES, Platform
from infra.settings import Settings
from replay.verify.verify import newest_manifest
from streams.lake.manifest import Manifest
from streams.lake.place import MANIFESTS, lake_root
from tests.bench.load import prepare, produce
from tests.bench.parts.lake_phases import phases
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage
from tests.bench.workers import Worker, wait_until

SEED = 41
LINGER_MS = 5
METHOD = """The demo mix is produced while the lake job is stopped and nothing else runs but the services;
then it is started. The rate is that from the end of its first batch, which a cold JVM takes long for, to
the end of the last, by the times of the manifests. The driver's own account: read is Kafka, decoding, judging and
the way to the driver, beside the fold and the write of the batch before; fold is silver and gold; write is the
Delta commits of all tables and the manifest. The steps are measured in a run of their own in which nothing is done
at the same time, over batches that come after two that are not counted: Spark's job is also run up to where the
records have come from Kafka, and up to where they are judged, and the differences are the steps."""
PHASES_SECONDS = 400


def measure(bench: Bench) -> Figures:
    count = bench.pick(3_000_000, 40_000)
    settings = bench.settings("lake")
    settings = settings.replace(lake_batch_records=bench.pick(settings.lake_batch_records, 10_000))
    with Platform(settings, (*SERVICES, "bootstrap", "lake"), preferred_ports=False) as platform:
        settings = platform.settings
        platform.stop_process("lake")
        file = prepare(settings, settings.state_dir / "load", count, 1_000, SEED)
        with Worker(produce, settings, file, 0, LINGER_MS, False) as load:
            load.result(300)
        generation = current_generation(settings).name

        def position() -> int:
            found = newest_manifest(settings, generation)
            return 0 if found is None else sum(found.counts.values())

        bench.say(f"{count:,} records wait")
        with Stage(platform) as stage, stage.usage() as usage:
            began = time.monotonic()
            platform.start_process("lake")
            wait_until(lambda: position() >= count, 900, f"{count:,} records in the lake")
            ended = time.monotonic()
        batches = manifests(lake_root(settings, generation))
        status = wait_until(lambda: reported(settings, count), 30, "the job's account of its last batch")
        platform.stop_process("lake")
        bench.say("the steps")
        batch = settings.lake_batch_records
        with Worker(phases, settings, batch, bench.pick(3, 1)) as worker:
            steps = worker.result(PHASES_SECONDS)
    (first, at_first), (last, at_last) = batches[0], batches[-1]
    return {
        "records": count,
        "batches": len(batches),
        "seconds_to_first": round(ended - began - (last - first), 1),
        "seconds": round(ended - began, 1),
        "per_second": round((at_last - at_first) / (last - first)) if last > first else None,
        "per_second_with_start": round(count / (ended - began)),
        "phases": {name: round(seconds, 1) for name, seconds in status["seconds"].items()},
        "steps": steps,
        "usage": usage,
    }


def manifests(root: str) -> list[tuple[float, int]]:
    """When each batch ended (s), and how many records the lake had then."""
    found = {}
    for commit in DeltaTable(f"{root}/{MANIFESTS}").history():
        if "manifest" in commit:
            manifest = Manifest.from_json(commit["manifest"])
            found[manifest.number] = commit["timestamp"] / 1000, sum(manifest.counts.values())
    return [found[number] for number in sorted(found) if number]


def reported(settings: Settings, records: int) -> Figures | None:
    """The job's status, once it has these records in it."""
    status = json.loads((settings.state_dir / "status" / "lake.json").read_text("utf-8"))
    return status if status.get("records", 0) >= records else None


def tables(figures: Figures) -> list[Table]:
    rows = [
        ["records", figures["records"]],
        ["records/s, after the first batch", figures["per_second"]],
        ["records/s, with the start", figures["per_second_with_start"]],
        ["seconds to the end of the first batch", figures["seconds_to_first"]],
        *([f"seconds in {name}", seconds] for name, seconds in figures["phases"].items()),
    ]
    cpu = ", ".join(f"{name} {each['cpu_percent']:.0f} %" for name, each in figures["usage"].items())
    found = [Table("", ("", "figure"), rows, [f"CPU, of a core, start included: {cpu}"])]
    steps = figures["steps"]
    rows = [[name, each["cpu_us"], each["us"]] for name, each in steps["steps"].items()]
    total = ["all", *(round(sum(row[n] for row in rows), 2) for n in (1, 2))]
    caption = f"The steps, a record ({steps['records']:,} records in batches of {steps['batch_records']:,})"
    found.append(Table(caption, ("step", "CPU, µs", "time, µs"), [*rows, total]))
    return found


PART = Part("lake", "The lake's catch-up", METHOD, measure, tables)

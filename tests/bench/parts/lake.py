"""How fast the lake works off what is in the topics, and where the time goes."""

import json
import time

from infra.generation import current_generation
from infra.runtime.platform import SERVICES, Platform
from replay.verify.verify import newest_manifest
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage
from tests.bench.workers import Worker, wait_until

SEED = 41
LINGER_MS = 5
FIRST = 50_000
METHOD = """The demo mix is produced while the lake job is stopped and nothing else runs but the services;
then it is started. The rate is that from the end of its first batch, which a cold JVM takes long for, to
the last record in gold. Phases are the driver's own account: read is Kafka, decoding, judging and the way
to the driver; fold is silver and gold; write is the Delta commits of all tables and the manifest."""


def measure(bench: Bench) -> Figures:
    count = bench.pick(1_000_000, 60_000)
    settings = bench.settings("lake").replace(lake_batch_records=bench.pick(200_000, 20_000))
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
            wait_until(lambda: position() > 0, 240, "the first batch")
            first, at_first = time.monotonic(), position()
            wait_until(lambda: position() >= count, 900, f"{count:,} records in the lake")
            ended = time.monotonic()
        status = json.loads((settings.state_dir / "status" / "lake.json").read_text("utf-8"))
    return {
        "records": count,
        "seconds_to_first": round(first - began, 1),
        "seconds": round(ended - began, 1),
        "per_second": round((count - at_first) / (ended - first)),
        "per_second_with_start": round(count / (ended - began)),
        "phases": {name: round(seconds, 1) for name, seconds in status["seconds"].items()},
        "usage": usage,
    }


def tables(figures: Figures) -> list[Table]:
    rows = [
        ["records", figures["records"]],
        ["records/s, after the first batch", figures["per_second"]],
        ["records/s, with the start", figures["per_second_with_start"]],
        ["seconds to the end of the first batch", figures["seconds_to_first"]],
        *([f"seconds in {name}", seconds] for name, seconds in figures["phases"].items()),
    ]
    cpu = ", ".join(f"{name} {each['cpu_percent']:.0f} %" for name, each in figures["usage"].items())
    return [Table("", ("", "figure"), rows, [f"CPU, of a core, start included: {cpu}"])]


PART = Part("lake", "The lake's catch-up", METHOD, measure, tables)

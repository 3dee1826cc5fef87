"""How fast the platform works off what has piled up while it was down."""

import time

from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench
from tests.bench.workers import Worker, wait_until

SEED = 31
LINGER_MS = 5
METHOD = """The demo mix is produced while the live job and the materializer are stopped; then both are
started. Counted is what REST shows. The rate is that from the first of these records counted to the last;
with the start it counts from the moment at which the two processes were told to start."""


def measure(bench: Bench) -> Figures:
    count = bench.pick(500_000, 40_000)
    with bench.stage("catchup") as stage:
        file = prepare(stage.settings, stage.directory / "load", count, 1_000, SEED)
        for name in ("live", "materializer"):
            stage.platform.stop_process(name)
        base = stage.produced()
        with Worker(produce, stage.settings, file, 0, LINGER_MS, False) as load:
            made = load.result(300)
        bench.say(f"{count:,} records wait")
        began = time.monotonic()
        with stage.usage() as usage:
            for name in ("live", "materializer"):
                stage.platform.start_process(name)
            wait_until(lambda: stage.position() > base, 240, "the first record counted")
            first, at_first = time.monotonic(), stage.position() - base
            ended = stage.await_counted(base + count)
    return {
        "records": count,
        "produced_per_second": round(count / (made["ended"] - made["began"])),
        "seconds_to_first": round(first - began, 1),
        "seconds": round(ended - began, 1),
        "per_second": round((count - at_first) / (ended - first)),
        "per_second_with_start": round(count / (ended - began)),
        "usage": usage,
    }


def tables(figures: Figures) -> list[Table]:
    rows = [
        ["records", figures["records"]],
        ["records/s, from the first to the last", figures["per_second"]],
        ["records/s, with the start", figures["per_second_with_start"]],
        ["seconds to the first", figures["seconds_to_first"]],
        ["seconds to the last", figures["seconds"]],
        ["records/s that the load was produced at", figures["produced_per_second"]],
    ]
    cpu = ", ".join(f"{name} {each['cpu_percent']:.0f} %" for name, each in figures["usage"].items())
    return [Table("", ("", "figure"), rows, [f"CPU, of a core, start included: {cpu}"])]


PART = Part("catchup", "Catch-up", METHOD, measure, tables)

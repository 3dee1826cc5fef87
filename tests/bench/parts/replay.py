"""How fast a replay is when nothing else runs."""

import time

from infra.code import here
from infra.generation import current_generation
from infra.generations import Generation
from infra.runtime.platform import ALL, Platform
from infra.settings import Settings
from replay.planning import plan_replay
from replay.run import run_plan
from serving.generation_progress import read_progress
from streams.lake.place import lake_root
from tests.bench.load import prepare, produce
from tests.bench.parts.lake import manifests
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage
from tests.bench.workers import Worker, wait_until

SEED = 61
LINGER_MS = 5
METHOD = """The demo mix is in the topics, and generation g1 has all of it: live numbers and lake. Then `dataflow
replay run --lake-first --throttle 0` is what happens: g2 begins, its lake takes in the topics, its live numbers are
filled out of the lake. Nothing is produced meanwhile; g1's processes are idle beside it. The rate into gold is that
from the end of the first batch, which a cold JVM takes long for, to the end of the last, by the times of the
manifests; both rates with the start count from the moment at which g2 was recorded."""


def measure(bench: Bench) -> Figures:
    count = bench.pick(5_000_000, 60_000)
    with Platform(bench.settings("replay"), ALL, preferred_ports=False) as platform, Stage(platform) as stage:
        settings = stage.settings
        wait_with(platform, stage, count, SEED)
        bench.say(f"{count:,} records wait; g1 takes them in")
        await_first(platform, settings)
        bench.say("a replay, as fast as it goes")
        free = replayed(stage, 0)
    return {"records": count, **free}


def wait_with(platform: Platform, stage: Stage, count: int, seed: int) -> None:
    """So many records wait in the topics; what would take them in stands still."""
    for name in ("live", "materializer", "verifier", "lake"):
        platform.stop_process(name)
    file = prepare(stage.settings, stage.directory / "load", count, 1_000, seed)
    with Worker(produce, stage.settings, file, 0, LINGER_MS, False) as load:
        load.result(600)


def await_first(platform: Platform, settings: Settings) -> None:
    """The first generation takes in what waits."""
    for name in ("live", "materializer", "lake"):
        platform.start_process(name)
    first = current_generation(settings)
    wait_until(lambda: read_progress(settings, first).behind == 0, 1_800, "g1's numbers and lake")


def begin(settings: Settings, throttle: int, *, lake_first: bool) -> Generation:
    """What `dataflow replay run` does."""
    return run_plan(settings, plan_replay(settings, here(settings), throttle, lake_first=lake_first))


def replayed(stage: Stage, throttle: int) -> Figures:
    """A replay of everything, until it has caught up."""
    settings, began = stage.settings, time.monotonic()
    generation = begin(settings, throttle, lake_first=True)
    wait_until(lambda: read_progress(settings, generation).lake_behind == 0, 1_200, "the lake of the replay")
    in_gold = time.monotonic()
    wait_until(lambda: read_progress(settings, generation).behind == 0, 1_200, "the numbers of the replay")
    ended = time.monotonic()
    batches = manifests(lake_root(settings, generation.name))
    (first, at_first), (last, at_last) = batches[0], batches[-1]
    records = at_last
    return {
        "gold_per_second": round((at_last - at_first) / (last - first)) if last > first else None,
        "gold_per_second_with_start": round(records / (in_gold - began)),
        "all_per_second_with_start": round(records / (ended - began)),
        "seconds_to_first_batch": round(in_gold - began - (last - first), 1),
        "seconds_to_gold": round(in_gold - began, 1),
        "seconds_to_numbers": round(ended - in_gold, 1),
    }


def tables(figures: Figures) -> list[Table]:
    rows = [
        ["records", figures["records"]],
        ["records/s into gold, after the first batch", figures["gold_per_second"]],
        ["records/s into gold, with the start", figures["gold_per_second_with_start"]],
        ["records/s into gold and live numbers, with the start", figures["all_per_second_with_start"]],
        ["seconds to the end of the first batch", figures["seconds_to_first_batch"]],
        ["seconds until all is in gold", figures["seconds_to_gold"]],
        ["seconds from there until all is counted", figures["seconds_to_numbers"]],
    ]
    return [Table("", ("", "figure"), rows)]


PART = Part("replay", "Replay", METHOD, measure, tables)

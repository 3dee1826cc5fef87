"""What a replay that is held back takes from the live numbers beside it."""

from contextlib import suppress
from typing import Any

from infra.runtime.platform import ALL, Platform
from replay.collect import collect
from serving.generation_progress import read_progress
from tests.bench.figures import Sightings, spread, waits
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.parts.replay import await_first, begin, wait_with
from tests.bench.render import SPREAD, Table, spread_rows
from tests.bench.stage import Bench, Stage
from tests.bench.watching import push
from tests.bench.workers import BenchError, Worker, wait_until

SEED = 71
LINGER_MS = 1
RATES = (250, 1_000)
THROTTLE = 2_000  # the default of `dataflow replay run`
METHOD = f"""The demo mix at an even rate, once without a replay and once while one at {THROTTLE:,} records a second,
the default, goes through what the topics hold; the platform with its settings as they come, but for the verifier of
g1, which stands still, and `LIVE_TRIGGER_SECONDS`, an hour here: where that is over, ten minutes by default, nothing
is judged for some seconds on a full machine (docs/architecture.md), which would make up most of a window that it
falls into. First without and then beside it, at each rate, one after the other on the same platform. A record's time
starts when it is handed to the producer, and ends when a client of `/v1/live` has received a snapshot that covers its
offset. A second lake, live job, materializer, verifier and API share the machine while the replay runs."""


def measure(bench: Bench) -> Figures:
    count, warm, window = bench.pick(500_000, 30_000), bench.pick(45, 5), bench.pick(60, 10)
    found: Figures = {"records": count, "rates": {}}
    settings = bench.settings("replay").replace(live_trigger_seconds=3_600)
    with Platform(settings, ALL, preferred_ports=False) as platform, Stage(platform) as stage:
        settings = stage.settings
        wait_with(platform, stage, count, SEED)
        bench.say(f"{count:,} records wait; g1 takes them in")
        await_first(platform, settings)
        for rate in RATES:
            bench.say(f"{rate:,} records/s without a replay")
            alone = pushed(stage, rate, warm, window, SEED + rate)
            bench.say(f"{rate:,} records/s beside one at {THROTTLE:,} records/s")
            begun = begin(settings, THROTTLE, lake_first=False)
            wait_until(
                lambda begun=begun: read_progress(settings, begun).manifest is not None,
                300,
                "its first batch",
            )
            beside = pushed(stage, rate, warm, window, SEED + rate + 1)
            left = read_progress(settings, begun).behind
            found["rates"][str(rate)] = {"alone": alone, "beside": beside, "left": left}
            collect(settings, [begun.number])
    return found


def pushed(stage: Stage, rate: int, warm: int, window: int, seed: int) -> dict[str, Any]:
    """From produced to pushed, in ms, of what is produced after the warm-up."""
    count = rate * (warm + window)
    file = prepare(stage.settings, stage.directory / f"load-{seed}", count, rate, seed)
    target = stage.produced() + count
    with (
        Worker(push, stage.url) as seen,
        Worker(produce, stage.settings, file, rate, LINGER_MS, True) as load,
    ):
        made = load.result(warm + window + 120)
        with suppress(BenchError):  # what was not seen by then is told as such
            wait_until(lambda: seen.count >= target, 120, "the last record pushed")
        seen.stop()
        sightings = Sightings(seen.result()["seen"])
    found, missing = waits([each for each in made["log"] if each.at >= made["began"] + warm], sightings)
    offered = round(count / (made["ended"] - made["began"]), 1)
    return {**spread(found), "missing": missing, "offered": offered}


def tables(figures: Figures) -> list[Table]:
    made = []
    for rate, each in figures["rates"].items():
        rows = spread_rows(
            {
                "produced → pushed, no replay": each["alone"],
                f"produced → pushed, beside a replay at {THROTTLE:,}/s": each["beside"],
            }
        )
        missing = each["alone"]["missing"] + each["beside"]["missing"]
        notes = [
            f"the replay had {each['left']:,} records to go when the window ended"
            if each["left"]
            else "the replay caught up before the window ended: its last part ran beside one that only follows"
        ]
        notes += [f"{missing:,} records were not seen within two minutes"] if missing else []
        notes += [
            f"the load reached {each['alone']['offered']:,} and {each['beside']['offered']:,} records/s"
        ]
        made.append(Table(f"{int(rate):,} records/s, in ms", ("", *SPREAD), rows, notes))
    return made


PART = Part("replay-latency", "Live numbers beside a replay", METHOD, measure, tables)

"""From producing a record until it is visible in REST and pushed to a client."""

from collections.abc import Sequence
from contextlib import ExitStack

from tests.bench.figures import Produced, Sightings, spread, waits
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import SPREAD, Table, spread_rows, usage_table
from tests.bench.stage import Bench, Stage
from tests.bench.watching import fences, judged, push, rest
from tests.bench.workers import Worker, wait_until

RATE, IDLE_RATE = 1_000, 50
LINGER_MS = 1
SEED = 11

METHOD = f"""The demo mix at an even rate, from a producer process of its own (lz4, linger {LINGER_MS} ms,
acks=all). A record's time starts when it is handed to the producer. It ends, for push, when a client of
`/v1/live` has received a snapshot whose `as_of` covers the record's offset; for REST, when a client that asks
for one metric, waits 5 ms and asks again has received such an answer. Each client is a process of its own.
The stages are measured in a run of their own, because looking costs: when the verdict reaches a consumer of
the judged topic, and when a reader that each commit wakes has read the fences."""


def measure(bench: Bench) -> Figures:
    warm, window = bench.pick(60, 5), bench.pick(60, 10)
    with bench.stage("latency") as stage:
        bench.say(f"{RATE:,}/s: {warm} s to warm up, {window} s measured")
        loaded = run(stage, RATE, warm, window, SEED)
        bench.say(f"{IDLE_RATE}/s")
        idle = run(stage, IDLE_RATE, bench.pick(5, 2), window, SEED + 1)
        bench.say("the stages")
        staged = stages(stage, bench.pick(5, 2), bench.pick(30, 8))
    return {"loaded": loaded, "idle": idle, "stages": staged}


def run(stage: Stage, rate: int, warm: int, window: int, seed: int) -> Figures:
    """Latencies at a rate, of what is produced after the warm-up."""
    count = rate * (warm + window)
    file = prepare(stage.settings, stage.directory / f"load-{seed}", count, rate, seed)
    target = stage.produced() + count
    with (
        Worker(push, stage.url) as pushed,
        Worker(rest, stage.url) as asked,
        stage.usage() as usage,
        Worker(produce, stage.settings, file, rate, LINGER_MS, True) as load,
    ):
        made = load.result(warm + window + 120)
        wait_until(
            lambda: min(pushed.count, asked.count) >= target, 60, "the last record seen by both clients"
        )
        seen = {}
        for name, worker in (("pushed", pushed), ("rest", asked)):
            worker.stop()
            seen[name] = worker.result()
    records = [r for r in made["log"] if r.at >= made["began"] + warm]
    figures: Figures = {"rate": rate, "seconds": window, "usage": usage}
    figures["offered"] = round(count / (made["ended"] - made["began"]), 1)
    for name, each in seen.items():
        found, missing = waits(records, Sightings(each["seen"]))
        figures[name] = {**spread(found), "missing": missing}
        figures[f"{name}_per_second"] = round(each["answers"] / (warm + window), 1)
    return figures


def stages(stage: Stage, warm: int, window: int) -> Figures:
    """Where the time goes at `RATE`: until judged, committed, pushed; each counted from producing."""
    count = RATE * (warm + window)
    file = prepare(stage.settings, stage.directory / "load-stages", count, RATE, SEED + 2)
    target = stage.produced() + count
    with ExitStack() as stack:
        verdicts = stack.enter_context(Worker(judged, stage.settings))
        committed = stack.enter_context(Worker(fences, stage.settings))
        pushed = stack.enter_context(Worker(push, stage.url))
        load = stack.enter_context(Worker(produce, stage.settings, file, RATE, LINGER_MS, True))
        made = load.result(warm + window + 120)
        wait_until(
            lambda: min(committed.count, pushed.count) >= target, 60, "the last record committed and pushed"
        )
        for worker in (verdicts, committed, pushed):
            worker.stop()
        when: dict[tuple[str, int, int], float] = {}
        for verdict in verdicts.result():
            if verdict.verdict != "u":
                when.setdefault(verdict[1:4], verdict.at)
        sightings = [Sightings(worker.result()["seen"]) for worker in (committed, pushed)]
    records: Sequence[Produced] = [r for r in made["log"] if r.at >= made["began"] + warm]
    return {
        "produced → judged": spread((when[r[1:]] - r.at) * 1000 for r in records if r[1:] in when),
        "produced → committed": spread(waits(records, sightings[0])[0]),
        "produced → pushed": spread(waits(records, sightings[1])[0]),
    }


def tables(figures: Figures) -> list[Table]:
    found = []
    for name in ("loaded", "idle"):
        each = figures[name]
        rows = spread_rows(
            {"produced → pushed (SSE)": each["pushed"], "produced → visible (REST)": each["rest"]}
        )
        notes = [
            f"{each['pushed_per_second']} snapshots and {each['rest_per_second']} REST answers a second; the load "
            f"reached {each['offered']:,} records/s"
        ]
        missing = each["pushed"]["missing"] + each["rest"]["missing"]
        notes += [f"{missing:,} records were never seen"] if missing else []
        found.append(
            Table(f"{each['rate']:,} records/s, {each['seconds']} s, in ms", ("", *SPREAD), rows, notes)
        )
    found.append(
        Table(f"The stages at {RATE:,} records/s, in ms", ("", *SPREAD), spread_rows(figures["stages"]))
    )
    found.append(usage_table(f"What that took at {RATE:,} records/s", figures["loaded"]["usage"]))
    return found


PART = Part("latency", "Latency", METHOD, measure, tables)

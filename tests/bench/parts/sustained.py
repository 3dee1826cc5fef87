"""The highest rate that the platform holds without growing lag."""

import time

from tests.bench.figures import held
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table, usage_table
from tests.bench.stage import Bench, Stage
from tests.bench.workers import Worker

RATES = (5_000, 10_000, 15_000, 20_000)
WARM_UP = 30_000  # records before the first rate
LINGER_MS = 5
SEED = 21

METHOD = """The demo mix, open-loop: the producer keeps its schedule whatever the platform does. Each rate
runs for two minutes, on the state that the rates before have left, and the first that does not hold is the
last. Each second `/v1/lag` is asked; the lag is what the broker had acknowledged at that moment less what the
answer's `as_of` covers (the log ends that the answer itself compares with are up to a second old). A rate is
held if the lag of the second half grows by less than 1 % of the rate each second and the load kept its
schedule. CPU is that of the second half."""


def measure(bench: Bench) -> Figures:
    seconds = bench.pick(120, 20)
    rates = []
    with bench.stage("sustained") as stage:
        warm = prepare(stage.settings, stage.directory / "warm", WARM_UP, 2_000, SEED)
        with Worker(produce, stage.settings, warm, 3_000, LINGER_MS, False) as load:
            load.result()
        for rate in RATES:
            bench.say(f"{rate:,}/s: making {rate * seconds:,} records")
            file = prepare(stage.settings, stage.directory / "load", rate * seconds, rate, SEED + rate)
            stage.await_counted()
            rates.append(hold(stage, file, rate, seconds))
            last = rates[-1]
            bench.say(f"{rate:,}/s: lag p50 {last['lag_p50']:,}, {'held' if last['held'] else 'not held'}")
            file.unlink()
            if not last["held"]:
                break
    best = max((each["rate"] for each in rates if each["held"]), default=None)
    return {"seconds": seconds, "rates": rates, "highest_held": best}


def hold(stage: Stage, file, rate: int, seconds: int) -> Figures:
    """One rate, and how long the rest took when the load had ended."""
    base, lags, reported = stage.produced(), [], []
    with Worker(produce, stage.settings, file, rate, LINGER_MS, False) as load:
        began = time.monotonic()
        sample(stage, load, base, began, seconds / 2, lags, reported)
        with stage.usage() as usage:
            sample(stage, load, base, began, seconds, lags, reported)
        made = load.result(10 * seconds + 120)
    ended = time.monotonic()
    drained = stage.await_counted(base + made["count"]) - ended
    offered = made["count"] / (made["ended"] - made["began"])
    return {
        **held(lags, rate, offered),
        "reported_max": max(reported, default=None),
        "drained_s": round(drained, 1),
        "usage": usage,
        "lags": [(round(at, 1), lag) for at, lag in lags],
    }


def sample(
    stage: Stage, load: Worker, base: int, began: float, until: float, lags: list, reported: list
) -> None:
    """Note the lag once a second until `until` seconds after `began`."""
    while (at := time.monotonic() - began) < until:
        acknowledged = base + load.count
        answer = stage.get("/v1/lag")
        if answer is not None:
            lags.append((at, max(0, acknowledged - answer["as_of"]["position"])))
            reported.append(answer["records_behind"])
        time.sleep(max(0.0, min(at + 1, until) - (time.monotonic() - began)))


def tables(figures: Figures) -> list[Table]:
    names = ("rate", "offered", "held", "lag_p50", "lag_max", "growth_per_second", "drained_s")
    columns = (
        "records/s",
        "offered",
        "held",
        "lag p50",
        "lag max",
        "growth, records/s",
        "drained in, s",
    )
    rows = [[each[name] for name in names] for each in figures["rates"]]
    found = [Table(f"Lag in records, over {figures['seconds']} s", columns, rows)]
    for each in figures["rates"]:
        if each["rate"] == figures["highest_held"]:
            found.append(usage_table(f"At {each['rate']:,} records/s", each["usage"]))
    return found


PART = Part("sustained", "Sustained rate", METHOD, measure, tables)

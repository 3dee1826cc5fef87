"""From SIGKILL of a process until its numbers move again."""

import time

from tests.bench.figures import Produced, Sightings, waits
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage
from tests.bench.watching import rest
from tests.bench.workers import Worker, wait_until

RATE = 200
KILLED = ("registry", "api", "materializer", "valkey", "live", "kafka")
LINGER_MS = 5
SEED = 51
LONGEST_SECONDS = 600
QUIET = 4  # seconds of load counted between kills; half of them belong to either side
METHOD = f"""The demo mix at {RATE} records/s without a break, and a REST client that asks all the time. Each
process in turn gets SIGKILL, with all that it started; the supervisor starts it again. *Moves again* is when
the client first saw a record that was produced after the kill; the *longest wait* is the longest time from
producing to being seen of any record around that kill. The next kill comes when all is ready and two seconds
of load later are counted."""


def measure(bench: Bench) -> Figures:
    kills: list[tuple[str, float, float, float]] = []
    with bench.stage("recover") as stage:
        file = prepare(stage.settings, stage.directory / "load", RATE * LONGEST_SECONDS, RATE, SEED)
        base = stage.produced()
        with (
            Worker(rest, stage.url) as client,
            Worker(produce, stage.settings, file, RATE, LINGER_MS, True) as load,
        ):
            steady(stage, load, client, base)
            for name in KILLED:
                kills.append(kill(stage, name, load, client, base))
                bench.say(f"{name}: ready again after {kills[-1][2] - kills[-1][1]:.1f} s")
            load.stop()
            records = load.result(240)["log"]
            wait_until(lambda: client.count >= base + len(records), 120, "every record seen")
            client.stop()
            sightings = Sightings(client.result()["seen"])
    return {"rate": RATE, "processes": {name: judge(records, sightings, *at) for name, *at in kills}}


def kill(stage: Stage, name: str, load: Worker, client: Worker, base: int) -> tuple[str, float, float, float]:
    """Kill one process and wait until all is well; returns its name and when it was killed, ready and over."""
    platform = stage.platform
    restarts = platform.supervisor.process(name).restarts
    platform.kill(name)
    killed = time.monotonic()
    wait_until(lambda: platform.supervisor.process(name).restarts > restarts, 60, f"{name}'s restart")
    platform.wait_ready(name, 120)
    ready = time.monotonic()
    platform.wait_ready(timeout=120)
    steady(stage, load, client, base)
    return name, killed, ready, time.monotonic()


def steady(stage: Stage, load: Worker, client: Worker, base: int) -> None:
    """Wait until `QUIET` more seconds of load are acknowledged and counted."""
    target = load.count + QUIET * RATE
    wait_until(lambda: load.count >= target, 120, "the broker to acknowledge the load")
    wait_until(lambda: client.count >= base + target, 180, "the load to be counted")


def judge(records: list[Produced], sightings: Sightings, killed: float, ready: float, over: float) -> Figures:
    """What a kill did to what the client saw."""
    after = [seen for r in records if r.at > killed and (seen := sightings.first(r)) is not None]
    around, _ = waits((r for r in records if killed - QUIET / 2 < r.at < over - QUIET / 2), sightings)
    return {
        "moves_again_s": round(min(after) - killed, 2) if after else None,
        "ready_s": round(ready - killed, 2),
        "longest_wait_s": round(max(around) / 1000, 2) if around else None,
    }


def tables(figures: Figures) -> list[Table]:
    rows = [
        [name, each["moves_again_s"], each["longest_wait_s"], each["ready_s"]]
        for name, each in figures["processes"].items()
    ]
    columns = ("killed", "moves again after", "longest wait", "process ready after")
    return [Table(f"Seconds, at {figures['rate']} records/s", columns, rows)]


PART = Part("recover", "Recovery from SIGKILL", METHOD, measure, tables)

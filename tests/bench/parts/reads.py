"""REST reads at fixed rates, open-loop, until the API no longer keeps up; beside a bare no-op."""

from collections.abc import Sequence
from typing import Any

import httpx

from tests.bench.asking import Plan, ask, request
from tests.bench.beside import Address, address_of, noop_of, used
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage
from tests.bench.workers import Worker

RATES = (250, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000, 12_000, 15_000)
BOUND_MS = 100.0
CONNECTIONS = 64
FIRST = 20_000  # records counted before
BACKGROUND = 50  # records/s meanwhile
HALVINGS = 2
SEED = 51
KINDS = {
    "one metric": ["/v1/metrics/revenue?grain=all"],
    "a mix of five questions": [
        "/v1/metrics/revenue?grain=all",
        "/v1/metrics/revenue?grain=minute",
        "/v1/metrics/items/top?by=product_id",
        "/v1/metrics/funnel?grain=hour",
        "/v1/freshness",
    ],
}
QUESTIONS = ", ".join(f"`{path}`" for path in KINDS["a mix of five questions"])
METHOD = f"""GET over {CONNECTIONS} keep-alive connections from a process of its own, open-loop: a request's time starts
when it is due, whether or not a connection was free then, so a stall counts for every request that it held up.
Meanwhile {BACKGROUND} records/s come in, so that answers change. After each rate of the API the same requests go, at
the same rate, to a bare ASGI application behind the same server (uvicorn, uvloop, httptools, the same options),
which answers as many bytes and does nothing else. A rate is held if, at the first or a second try, it is answered in
full, all with 200, and p99 stays below {BOUND_MS:.0f} ms; between the last that was held and the first that was not
the API is tried {HALVINGS} times more. CPU is that of the server's process. The mix: {QUESTIONS}."""

EXPLANATION = """\
**Where the time went on 2026-11-23.**
At place 1; what the table says may be of another day and place, on which the no-op beside it costs otherwise, too.
Before, by a sampling profiler, for one metric: two fifths in the route (most of it the
call to Redis and taking its answer apart), two fifths in middlewares and framework around it, the rest in the server.
Now a quarter is reading, and the framework is a tenth. Of the mix a third is adding up the rows of all products to find
the largest. In CPU per read at 1,000 reads/s, the API before and after in turn, twice, on a machine that was busy
otherwise: 550 and 562 µs became 354 and 398 for one metric, 726 and 1,000 became 574 and 584 for the mix.

- Routes without parameters in their path are looked up and called (`serving/api/direct.py`). FastAPI's search, its
  dependencies and its stacks for errors remain for all other routes, and for OpenAPI.
- Reads that wait at the same time go to Redis as one (`serving/api/gathered.py`), each still sent after it was asked.
  So a read gets cheaper the more there are; few reads cost about as much as before.
- The garbage collector leaves alone what is there for good (`serving/api/process.py`)."""


def measure(bench: Bench) -> Figures:
    seconds = bench.pick(10, 3)
    found = {}
    with bench.stage("reads") as stage:
        first = prepare(
            stage.settings, stage.directory / "first-reads", bench.pick(FIRST, 3_000), 2_000, SEED
        )
        with Worker(produce, stage.settings, first, 0, 5, False) as load:
            load.result(300)
        stage.await_counted()
        background = prepare(
            stage.settings, stage.directory / "load", 3_600 * BACKGROUND, BACKGROUND, SEED + 1
        )
        with (
            Worker(produce, stage.settings, background, BACKGROUND, 1, False),
            noop_of(stage) as (bare, pids),
        ):
            for kind, paths in KINDS.items():
                found[kind] = climb(bench, stage, paths, bare, pids, seconds)
    return {"seconds": seconds, "kinds": found}


def climb(
    bench: Bench, stage: Stage, paths: Sequence[str], bare: Address, pids: list[int], seconds: float
) -> Figures:
    """All rates, until neither holds any more."""
    sizes = [len(httpx.get(stage.url + path, trust_env=False).content) for path in paths]
    api = address_of(stage), [request("GET", path) for path in paths], stage.platform.pids("api")
    noop = bare, [request("GET", f"/bytes/{size}") for size in sizes], pids
    runs: dict[str, list[Figures]] = {"api": [], "noop": []}
    for rate in RATES:
        for name, server in (("api", api), ("noop", noop)):
            if all(run["held"] for run in runs[name]):
                runs[name].append(tried(bench, name, *server, rate, seconds))
        if not runs["noop"][-1]["held"]:
            break
    held = [run["rate"] for run in runs["api"] if run["held"]]
    if held and not runs["api"][-1]["held"]:
        low, high = held[-1], runs["api"][-1]["rate"]
        for _ in range(HALVINGS):
            between = (low + high) // 2
            runs["api"].append(tried(bench, "api", *api, between, seconds))
            low, high = (between, high) if runs["api"][-1]["held"] else (low, between)
    return {"bytes": sizes, **{name: sorted(each, key=lambda r: r["rate"]) for name, each in runs.items()}}


def tried(
    bench: Bench,
    name: str,
    address: Address,
    requests: Sequence[bytes],
    pids: list[int],
    rate: int,
    seconds: float,
) -> Figures:
    """One rate at one server, and once more if it was not held: one stall of the machine shall not end the climb."""
    first = at_rate(bench, name, address, requests, pids, rate, seconds)
    return first if first["held"] else at_rate(bench, name, address, requests, pids, rate, seconds)


def at_rate(
    bench: Bench,
    name: str,
    address: Address,
    requests: Sequence[bytes],
    pids: list[int],
    rate: int,
    seconds: float,
) -> Figures:
    """One rate at one server."""
    plan = Plan(address, requests, int(rate * seconds), rate, CONNECTIONS)
    with used(pids) as usage, Worker(ask, plan) as asking:
        found: dict[str, Any] = asking.result(seconds + 60)
    p99, took = found["waits_ms"]["p99"], found["ended"] - found["began"]
    usage["cpu_percent"] = round(usage["cpu_s"] / took * 100, 1)
    held = found["statuses"].get("200") == plan.count and p99 < BOUND_MS
    bench.say(
        f"{name} {rate:,}/s: p50 {found['waits_ms']['p50']} ms, p99 {p99} ms, CPU {usage['cpu_percent']} %"
    )
    return {
        "rate": rate,
        "held": held,
        "waits_ms": found["waits_ms"],
        "statuses": found["statuses"],
        "missing": found["missing"],
        "cpu_us": round(usage["cpu_s"] / max(1, plan.count - found["missing"]) * 1e6, 1),
        "cpu_percent": usage["cpu_percent"],
    }


def tables(figures: Figures) -> list[Table]:
    found = []
    for kind, each in figures["kinds"].items():
        bare = {run["rate"]: run for run in each["noop"]}
        rows = []
        api = {run["rate"]: run for run in each["api"]}
        for rate in sorted(api.keys() | bare.keys()):
            row: list[Any] = [rate]
            for run in (api.get(rate), bare.get(rate)):
                waits = run["waits_ms"] if run else {}
                row += [waits.get("p50"), waits.get("p99"), run["cpu_us"] if run else None]
            rows.append(row)
        most = {
            name: max((r["rate"] for r in each[name] if r["held"]), default=0) for name in ("api", "noop")
        }
        columns = ("reads/s", "API p50", "p99", "CPU µs/read", "no-op p50", "no-op p99", "CPU µs/read")
        note = f"most reads/s held: {most['api']:,}; the no-op: {most['noop']:,}"
        if most["api"]:
            rate = most["api"]
            note += f" ({most['noop'] / rate:.1f} times as many)"
            if rate in bare:
                note += f"; at {rate:,}/s a read costs {api[rate]['cpu_us'] / bare[rate]['cpu_us']:.1f} times its CPU"
        sizes = ", ".join(f"{size:,}" for size in each["bytes"])
        caption = f"Reads of {kind}, {figures['seconds']} s a rate, waits in ms"
        found.append(Table(caption, columns, rows, [note, f"bytes of an answer: {sizes}"]))
    return found


PART = Part("reads", "REST reads", METHOD, measure, tables, EXPLANATION)

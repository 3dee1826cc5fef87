"""A thousand push clients, and five thousand: when all of them see what was produced; beside a bare no-op."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from serving.api.process import SPARE_FILES, raise_file_limit
from tests.bench.beside import Address, address_of, noop_of, used
from tests.bench.crowd import crowd
from tests.bench.figures import Produced, spread
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage
from tests.bench.workers import Worker, wait_until

CROWDS = (1_000, 5_000)
RATES = (50, 1_000)
IN_A_PROCESS = 2_500
MARKED = 1_500  # records whose way to each client is followed, evenly over the window
LINGER_MS = 1
SEED = 41
METHOD = f"""So many clients of `/v1/live` on one API process, each an own connection, {IN_A_PROCESS:,} in a process of
the benchmark, while the demo mix is produced at an even rate. A record's time starts when it is handed to the producer
and ends, for each client by itself, when that client has the whole of a snapshot whose `as_of` covers it; up to
{MARKED:,} records, evenly over the window, are followed to all clients. A client is sent the newest snapshot and none
that it was too slow for. Then a bare ASGI application behind the same server pushes frames of the same size at the
same mean rate to as many clients; its times are from making the frame to its receipt. CPU is that of the server's
process, and the ratio is CPU per frame and client."""

EXPLANATION = """\
**Where the time went on 2026-11-23.**
At place 1; what the table says may be of another day and place, on which the no-op beside it costs otherwise, too.
For a thousand clients, by a sampling profiler: a third to a half of the API's CPU
is writing to sockets, which the no-op does too, a sixth is reading and writing out the snapshot, once for all clients;
the rest is Python around each `send`. That rest was made smaller. In CPU per message, the API before and after in turn,
twice, on a machine that was busy otherwise: 42 to 66 µs became 25 to 39 with 1,000 clients, 88 and 89 became 24 and 28
with 5,000, in 232 MB instead of 311.

- A client is one waiting future and one small object. It was a generator in a task group that waited with a time-out of
  its own, which was a sixth of all; heartbeats now come from one task for all clients.
- All clients share the bytes of a frame; state, snapshot and notes go in one message.
- Clients are woken 64 at a time, so that a REST request has to wait for some of them and not for thousands.
- The kernel is told to keep 64 KB for a client that is slow, where it kept megabytes: hundreds of snapshots, all old
  when they are read. It is also told to cut off who takes nothing for 30 s. Nothing is queued for a client here: it is
  sent the newest when there is room.
- How often a snapshot is made follows what it costs: at most 20 % of a core for making them and 40 % for sending. With
  many clients this decides how old a number is when it comes."""


def measure(bench: Bench) -> Figures:
    warm, window = bench.pick(10, 3), bench.pick(30, 8)
    found, notes = [], []
    with bench.stage("sse") as stage:
        for clients in CROWDS:
            allowed = raise_file_limit(clients + SPARE_FILES)
            if allowed < clients + SPARE_FILES:
                notes.append(f"{clients:,} clients: not measured, this machine allows {allowed:,} open files")
                continue
            for rate in RATES:
                run = at_rate(stage, clients, rate, warm, window)
                run["noop"] = beside(stage, clients, run["frame_bytes"], run["frames_per_second"], window)
                waits, bare = run["waits_ms"], run["noop"]
                bench.say(
                    f"{clients:,} clients, {rate:,}/s: p50 {waits['p50']} p99 {waits['p99']} ms, "
                    f"{run['messages_per_second']:,} messages/s, {run['cpu_us']} µs each (no-op {bare['cpu_us']})"
                )
                found.append(run)
    return {"seconds": window, "runs": found, "notes": notes}


def at_rate(stage: Stage, clients: int, rate: int, warm: float, window: float) -> Figures:
    """One crowd at the API, at one rate of records."""
    count = int(rate * (warm + window))
    file = prepare(stage.settings, stage.directory / "load-sse", count, rate, SEED + clients + rate)
    target = stage.produced() + count
    with ExitStack() as stack:
        crowds = [stack.enter_context(each) for each in listeners(address_of(stage), "/v1/live", clients)]
        load = stack.enter_context(Worker(produce, stage.settings, file, rate, LINGER_MS, True))
        with used(stage.platform.pids("api")) as usage:
            before = sum(each.count for each in crowds)
            made = load.result(warm + window + 120)
            messages = sum(each.count for each in crowds) - before
        stage.await_counted(target)
        wait_until(lambda: still(crowds), 30, "the last snapshot at all clients")
        answers = heard(crowds)
    records = [r for r in made["log"] if r.at >= made["began"] + warm]
    marked = records[:: max(1, len(records) // MARKED)]
    waits, missing = waits_of(marked, answers)
    return {
        "clients": clients,
        "rate": rate,
        "offered": round(count / (made["ended"] - made["began"]), 1),
        "waits_ms": spread(waits),
        "missing": missing,
        **sent(answers, messages, clients, usage),
    }


def beside(stage: Stage, clients: int, frame_bytes: int, frames: float, window: float) -> Figures:
    """As large a crowd at the no-op."""
    with noop_of(stage, frame_bytes, frames) as (address, pids), ExitStack() as stack:
        crowds = [stack.enter_context(each) for each in listeners(address, "/push", clients)]
        with used(pids) as usage:
            before = sum(each.count for each in crowds)
            wait_until(
                lambda: sum(each.count for each in crowds) - before >= clients * frames * window,
                3 * window + 30,
                "frames",
            )
            messages = sum(each.count for each in crowds) - before
        answers = heard(crowds)
    waits = (
        (at - answer["documents"][number]) * 1000
        for answer in answers
        for times, numbers in answer["receipts"]
        for at, number in zip(times, numbers, strict=True)
    )
    return {"waits_ms": spread(waits), **sent(answers, messages, clients, usage)}


def listeners(address: Address, path: str, clients: int) -> Iterable[Worker]:
    """Workers with all clients between them."""
    while clients > 0:
        yield Worker(crowd, address, path, min(clients, IN_A_PROCESS))
        clients -= IN_A_PROCESS


def still(crowds: Sequence[Worker]) -> bool:
    """Whether nothing came for a while."""
    before = [each.count for each in crowds]
    time.sleep(1.0)
    return before == [each.count for each in crowds]


def heard(crowds: Sequence[Worker]) -> list[dict[str, Any]]:
    for each in crowds:
        each.stop()
    return [each.result(120) for each in crowds]


def sent(
    answers: Sequence[Mapping[str, Any]], messages: int, clients: int, usage: Mapping[str, float]
) -> Figures:
    """What the server sent and what that cost, over the time in which it was watched."""
    return {
        "frame_bytes": answers[0]["frame_bytes"],
        "messages_per_second": round(messages / usage["seconds"]),
        "frames_per_second": round(messages / usage["seconds"] / clients, 2),
        "cpu_us": round(usage["cpu_s"] / max(1, messages) * 1e6, 1),
        "lost": sum(answer["lost"] for answer in answers),
        "connect_seconds": max(answer["connect_seconds"] for answer in answers),
        **usage,
    }


def waits_of(records: Sequence[Produced], answers: Sequence[Mapping[str, Any]]) -> tuple[list[float], int]:
    """How long (ms) each record took to each client, and how many never came to one of them.

    Snapshots of one state are numbered by position: what one covers, each with a higher number covers too.
    """
    documents = {number: document for answer in answers for number, document in answer["documents"].items()}
    numbers = sorted(documents)
    covering: list[tuple[float, int | None]] = []
    for record in records:
        n = bisect_left(
            numbers,
            True,
            key=lambda number: (
                documents[number].get(record.topic, {}).get(str(record.partition), 0) > record.offset
            ),
        )
        covering.append((record.at, numbers[n] if n < len(numbers) else None))
    found, missing = [], 0
    for answer in answers:
        for times, seen in answer["receipts"]:
            for at, number in covering:
                n = len(seen) if number is None else bisect_left(seen, number)
                if n < len(seen):
                    found.append((times[n] - at) * 1000)
                else:
                    missing += 1
    return found, missing


def tables(figures: Figures) -> list[Table]:
    times, costs, notes = [], [], list(figures["notes"])
    for run in figures["runs"]:
        noop, name = run["noop"], [run["clients"], run["rate"]]
        waits = run["waits_ms"]
        times.append(
            [
                *name,
                waits["p50"],
                waits["p90"],
                waits["p99"],
                waits["max"],
                noop["waits_ms"]["p50"],
                noop["waits_ms"]["p99"],
                run["lost"] + noop["lost"],
            ]
        )
        costs.append(
            [
                *name,
                run["messages_per_second"],
                run["frames_per_second"],
                run["cpu_percent"],
                run["rss_mb"],
                run["cpu_us"],
                noop["cpu_us"],
                round(run["cpu_us"] / noop["cpu_us"], 2) if noop["cpu_us"] else None,
            ]
        )
        if run["missing"]:
            notes.append(
                f"{run['clients']:,} clients, {run['rate']:,}/s: {run['missing']:,} records never seen by one"
            )
    sizes = ", ".join(f"{run['frame_bytes']:,}" for run in figures["runs"])
    notes.append(f"bytes of a snapshot: {sizes}")
    seen = Table(
        f"Produced → pushed, over all clients and {figures['seconds']} s, in ms",
        ("clients", "records/s", "p50", "p90", "p99", "max", "no-op p50", "no-op p99", "connections lost"),
        times,
        notes,
    )
    cost = Table(
        "What that took",
        (
            "clients",
            "records/s",
            "messages/s",
            "snapshots/s",
            "CPU, %",
            "RSS, MB",
            "CPU µs/message",
            "no-op",
            "ratio",
        ),
        costs,
    )
    return [seen, cost]


PART = Part("sse", "Push to many", METHOD, measure, tables, EXPLANATION)

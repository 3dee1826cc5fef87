"""Events over REST, one a request and many a request, until they are counted; beside a bare no-op."""

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from tests.bench.asking import Plan, ask, request
from tests.bench.beside import Address, address_of, noop_of, used
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage
from tests.bench.workers import Worker

PATH = "/v1/events/orders"
NDJSON = "application/x-ndjson"
LINES = 500
SINGLE_CONNECTIONS, BATCH_CONNECTIONS = 32, 4
ANSWER_BYTES, LINE_ANSWER_BYTES = 850, 190
REPEATS = 5  # of the no-op's requests, which are answered too soon to be timed else
METHOD = f"""Orders as JSON documents without event id and version, so that the ingest gives both, from a process of
its own that sends the next as soon as one is answered: one document a request over {SINGLE_CONNECTIONS} connections,
and {LINES} a request (NDJSON) over {BATCH_CONNECTIONS}. Answered means that the broker has them; *counted* ends when
REST shows them all. The whole platform runs and judges and counts them meanwhile. Before each run of the API the same
requests go, {REPEATS} times over, to a bare ASGI application behind the same server, which reads them to their end
and answers about as many bytes. CPU is that of the server's process."""

EXPLANATION = """\
**Where the time went on 2026-11-23.**
At place 1; what the table says may be of another day and place, on which the no-op beside it costs otherwise, too.
Before, by a sampling profiler, one a request: a quarter in middlewares and framework, a
quarter in two calls to Redis (for a version, and for `as_of`), an eighth in judging and writing Avro, the rest in the
server and its loop. Many a request: judging and parsing a third, writing Avro and giving versions a seventh each, in
good part collecting garbage. In CPU per event, the API before and after in turn, twice, on a machine that was busy
otherwise: 687 and 933 µs became 390 and 400 one a request, 77 and 81 became 64 and 65 many a request.

- Small requests that come at the same time get their versions in one call to Redis, and their `as_of` in another.
- The garbage collector looks less often, and not at what is there for good (`serving/api/process.py`).
- The short way to the route, as for reads; waiting for the broker takes no task of its own."""


def measure(bench: Bench) -> Figures:
    singles, batches = bench.pick(20_000, 2_000), bench.pick(300, 20)
    found = {}
    with bench.stage("ingest") as stage, noop_of(stage) as (bare, pids):
        # The first request loads schemas and connects; it is not the one to measure.
        for name, (requests, lines, connections) in {
            "warm-up": (single_posts(500), 1, SINGLE_CONNECTIONS),
            "one a request": (single_posts(singles), 1, SINGLE_CONNECTIONS),
            f"{LINES} a request": (batch_posts(batches), LINES, BATCH_CONNECTIONS),
        }.items():
            size = ANSWER_BYTES if lines == 1 else LINE_ANSWER_BYTES * lines
            noop = [each.replace(PATH.encode(), b"/bytes/%d" % size, 1) for each in requests]
            each = {
                "events": len(requests) * lines,
                "noop": post(bare, noop, connections, pids, lines, REPEATS),
                "api": counted(stage, requests, connections, lines),
            }
            speeds = (f"{server} {each[server]['events_per_second']:,}/s" for server in ("api", "noop"))
            bench.say(f"{name}: {', '.join(speeds)}")
            if name != "warm-up":
                found[name] = each
    return found


def single_posts(count: int) -> list[bytes]:
    return [request("POST", PATH, orjson.dumps(order())) for _ in range(count)]


def batch_posts(count: int) -> list[bytes]:
    bodies = (b"\n".join(orjson.dumps(order()) for _ in range(LINES)) for _ in range(count))
    return [request("POST", PATH, body, NDJSON) for body in bodies]


def order() -> dict[str, Any]:
    """An order as a shop would send it."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return {
        "order_id": str(uuid.uuid4()),
        "customer_id": str(uuid.uuid4()),
        "order_date": now,
        "status": "placed",
        "total_amount": "19.99",
        "shipping_address": "1 Example Street, 12345 Exampletown",
        "shipping_country": "DE",
        "payment_method": "card",
        "created_at": now,
        "updated_at": now,
    }


def counted(stage: Stage, requests: Sequence[bytes], connections: int, lines: int) -> Figures:
    """One run at the API, until REST shows the last event."""
    base, events = stage.produced(), len(requests) * lines
    began = time.monotonic()
    found = post(address_of(stage), requests, connections, stage.platform.pids("api"), lines)
    ended = stage.await_counted(base + events)
    return {
        **found,
        "counted_per_second": round(events / (ended - found["began"])),
        "took": round(ended - began, 2),
    }


def post(
    address: Address,
    requests: Sequence[bytes],
    connections: int,
    pids: list[int],
    lines: int,
    repeats: int = 1,
) -> Figures:
    """All requests, `repeats` times over, at one server."""
    plan = Plan(address, requests, len(requests) * repeats, 0, connections)
    # The worker's start is idle time of the server, of which only CPU seconds are taken.
    with used(pids) as usage, Worker(ask, plan) as asking:
        found: dict[str, Any] = asking.result(600)
    events = plan.count * lines
    return {
        "events_per_second": round(events / (found["ended"] - found["began"])),
        "requests_per_second": found["per_second"],
        "waits_ms": found["waits_ms"],
        "statuses": found["statuses"],
        "cpu_us": round(usage["cpu_s"] / events * 1e6, 2),
        "cpu_percent": round(usage["cpu_s"] / (found["ended"] - found["began"]) * 100, 1),
        "rss_mb": usage["rss_mb"],
        "began": found["began"],
    }


def tables(figures: Figures) -> list[Table]:
    rows, notes = [], []
    for name, each in figures.items():
        for server in ("api", "noop"):
            run = each[server]
            rows.append(
                [
                    f"{'API' if server == 'api' else 'no-op'}, {name}",
                    run["events_per_second"],
                    run.get("counted_per_second"),
                    run["waits_ms"]["p50"],
                    run["waits_ms"]["p99"],
                    run["cpu_us"],
                ]
            )
        api, noop = each["api"], each["noop"]
        cost = api["cpu_us"] / max(noop["cpu_us"], 0.01)
        speed = noop["events_per_second"] / api["events_per_second"]
        notes.append(
            f"{name}: {each['events']:,} events; an event costs {cost:.1f} times the no-op's CPU, and the no-op takes "
            f"{speed:.1f} times as many a second"
        )
    columns = ("", "events/s", "events/s until counted", "request p50, ms", "p99, ms", "CPU µs/event")
    return [Table("", columns, rows, notes)]


PART = Part("ingest", "REST ingest", METHOD, measure, tables, EXPLANATION)

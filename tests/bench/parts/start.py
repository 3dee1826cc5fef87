"""From starting the platform to the first number."""

import sys
import time
from contextlib import ExitStack

from infra.runtime.platform import LIVE, Platform
from infra.runtime.spec import State
from infra.settings import Settings
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench
from tests.bench.watching import push, rest
from tests.bench.workers import Worker, wait_until

DEMO = (sys.executable, "-m", "dataflow", "produce", "--rate", "50", "--forever")
METHOD = """The platform with the load of `dataflow up --demo` (50 records/s), in a fresh directory, and then
once more on the state that the first run has left. Seconds from the call that starts it. A *new* number
covers a record that was not counted before the start. Jars and virtual environment are there already; the
start of the Python interpreter itself is not in it."""


def measure(bench: Bench) -> Figures:
    settings = bench.settings("start")
    figures: Figures = {}
    known = 0
    for name in ("cold", "second"):
        figures[name], known = start(settings, known)
        bench.say(f"{name}: ready after {figures[name]['ready']} s")
    return figures


def start(settings: Settings, known: int) -> tuple[Figures, int]:
    """Start, wait for a number above `known`, stop; returns the figures and the position at the end."""
    ready: dict[str, float] = {}

    def note(processes) -> None:
        for info in processes:
            if info.state in (State.READY, State.DONE):
                ready.setdefault(info.name, time.monotonic())

    platform = Platform(settings, LIVE, demo=DEMO, preferred_ports=False, on_change=note)
    began = time.monotonic()
    with ExitStack() as stack:
        platform.start(stack)
        clients = {
            name: stack.enter_context(Worker(watch, platform.url))
            for name, watch in (("rest", rest), ("pushed", push))
        }
        platform.wait_ready()
        all_ready = time.monotonic()
        wait_until(
            lambda: min(client.count for client in clients.values()) > known,
            120,
            "a new number at both clients",
        )
        seen = {}
        for name, client in clients.items():
            client.stop()
            seen[name] = client.result()["seen"]
    figures: Figures = {"ready": round(all_ready - began, 1)}
    figures["processes"] = {name: round(at - began, 1) for name, at in ready.items()}
    for name, each in seen.items():
        for what, above in (("first", 0), ("new", known)):
            at = next(at for at, offsets in each if sum(offsets.values()) > above)
            figures[f"{name}_{what}"] = round(at - began, 1)
    return figures, max(sum(offsets.values()) for each in seen.values() for _, offsets in each)


def tables(figures: Figures) -> list[Table]:
    cold, second = figures["cold"], figures["second"]
    names = {
        "ready": "all processes ready",
        "rest_first": "first number in REST",
        "pushed_first": "first number pushed",
        "rest_new": "first new number in REST",
        "pushed_new": "first new number pushed",
    }
    rows = [[text, cold[name], second[name]] for name, text in names.items()]
    rows += [[f"{name} ready", at, second["processes"].get(name)] for name, at in cold["processes"].items()]
    return [Table("Seconds", ("", "first start", "second start"), rows)]


PART = Part("start", "Start", METHOD, measure, tables)

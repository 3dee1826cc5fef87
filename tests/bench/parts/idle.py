"""What the platform uses while nothing happens."""

import os
import time

import psutil

from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table, usage_table
from tests.bench.stage import Bench

METHOD = """A fresh platform that has counted 500 records, without load and without clients, after 20 seconds
to settle. RSS counts shared pages in each process. The supervisor is measured in the benchmark's own process,
whose memory is therefore that of the benchmark too."""


def measure(bench: Bench) -> Figures:
    seconds = bench.pick(30, 10)
    me = psutil.Process()
    with bench.stage("idle") as stage:
        time.sleep(bench.pick(20, 5))
        own = sum(me.cpu_times()[:2])
        with stage.usage() as usage:
            time.sleep(seconds)
        own = sum(me.cpu_times()[:2]) - own
    usage["supervisor"] = {
        "cpu_percent": round(own / seconds * 100, 1),
        "rss_mb": round(psutil.Process(os.getpid()).memory_info().rss / 2**20),
    }
    return {"seconds": seconds, "usage": usage}


def tables(figures: Figures) -> list[Table]:
    return [usage_table(f"Over {figures['seconds']} s", figures["usage"])]


PART = Part("idle", "Idle", METHOD, measure, tables)

"""Where the lake's time goes: the steps of its driver one after another over the same records, each by its CPU seconds.

Runs in a worker, beside the services. Reads the source topics, writes a lake of its own below the state directory.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import psutil
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from infra.failpoints import Failpoints
from infra.generation import current_generation, source_bounds
from infra.kafka import Offsets
from infra.runtime import jobs
from infra.settings import Settings
from infra.setup import find_java
from streams.lake.job import SLOTS
from streams.lake.known import Known
from streams.lake.reading import CONFIG, Reading
from streams.lake.store import LakeStore
from streams.spark import end, session
from streams.world import World
from tests.bench.workers import Inside

WARM = 2  # batches that are not counted: the JVM compiles


class Meter:
    """CPU seconds of this process and its children, and seconds, by name."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self._me = psutil.Process()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        before, began = self.used(), time.monotonic()
        yield
        self.add(name, self.used() - before, time.monotonic() - began)

    def add(self, name: str, cpu: float, seconds: float) -> None:
        self.cpu[name] = self.cpu.get(name, 0.0) + cpu
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def used(self) -> float:
        return sum(sum(p.cpu_times()[:2]) for p in (self._me, *self._me.children(recursive=True)))


class Laps(Failpoints):
    """Takes the time between the places that the store passes while it writes."""

    NAMES = ("bronze", "silver", "gold")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.meter = Meter()
        self._last = (0.0, 0.0)

    def hit(self, name: str) -> None:
        layer = name.removeprefix("lake.after_")
        if name in ("lake.before_bronze", "lake.before_manifest"):
            self._last = self.meter.used(), time.monotonic()
        elif layer in (*self.NAMES, "manifest"):
            cpu, at = self.meter.used(), time.monotonic()
            self.meter.add(f"write {layer}", cpu - self._last[0], at - self._last[1])
            self._last = cpu, at


def phases(inside: Inside, settings: Settings, batch_records: int, most: int) -> dict[str, Any]:
    """CPU and wall microseconds a record of each step, over at most `most` batches after the first ones."""
    java = find_java(settings.java_home)
    os.environ |= jobs.lake_spec(settings, java).env
    inside.ready()
    generation = current_generation(settings)
    since, until = source_bounds(settings, generation)
    laps = Laps(settings)
    store = LakeStore(str(settings.state_dir / "lake-again"), laps)
    manifest = store.open(generation.name)
    tables = Known(store, manifest).tables(settings.shop_timezone)
    spark = session(settings, "bench", SLOTS, CONFIG)
    world = World(settings, generation)
    reading = Reading(spark, settings, generation, world.schemas())
    total = sum(until.values()) - sum(since.values())
    number = max(WARM + 1, total // batch_records)
    cuts = [
        {at: since[at] + (until[at] - since[at]) * n // number for at in until} for n in range(number + 1)
    ]
    counted = 0
    try:
        for n, (begin, stop) in enumerate(pairwise(cuts)):
            if n == WARM:
                counted, laps.meter = 0, Meter()
            elif n == WARM + most:
                break
            meter = laps.meter
            _measure_judging(meter, reading, tuple(generation.topics), begin, stop)
            with meter.of("read"):
                judged = reading.read(begin, stop)
            with meter.of("fold"):
                batch = tables.fold(manifest.number + 1, judged)
            with meter.of("write"):
                manifest = store.write(replace(manifest, number=manifest.number + 1, until=stop), batch.rows)
            with meter.of("take in"):
                tables.take_in(batch)
            counted += sum(frame.height for frame in judged.values())
            inside.show(n)
    finally:
        world.close()
        reading.close()
        store.close()
        end(spark)
    per_record = {
        name: {"cpu_us": round(meter.cpu[name] / counted * 1e6, 2), "us": round(s / counted * 1e6, 2)}
        for name, s in meter.seconds.items()
    }
    return {"records": counted, "batch_records": total // number, "steps": _steps(per_record)}


def _measure_judging(
    meter: Meter, reading: Reading, topics: tuple[str, ...], since: Offsets, until: Offsets
) -> None:
    """The read cut off at two places: after the records came from Kafka, and after they were judged."""
    with meter.of("fetch"):
        for topic in topics:
            records = reading.records(topic, since, until)
            records.select(F.sum(F.octet_length("value") + F.size("headers"))).collect()
    with meter.of("judge"):
        for topic in topics:
            _drain(reading.judged(topic, since, until))


def _drain(rows: DataFrame) -> None:
    rows.write.format("noop").mode("overwrite").save()


def _steps(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Steps that add up: what was cut off after a step has those before it in it."""

    def beyond(name: str, before: str) -> dict[str, float]:
        return {unit: round(max(0.0, found[name][unit] - found[before][unit]), 2) for unit in found[name]}

    return {
        "fetch from Kafka": found["fetch"],
        "decode and judge": beyond("judge", "fetch"),
        "to the driver": beyond("read", "judge"),
        "fold": found["fold"],
        **{name: each for name, each in found.items() if name.startswith("write ")},
        "take in": found["take in"],
    }

"""What the same batch costs the lake when its tables are small and when they are large; what an order costs in memory.

Without Kafka and Spark, whose share follows the batch alone: judged records are folded and written, in a process of
its own for each size. Writes Delta tables below the state directory.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any

import polars as pl
import psutil
import pyarrow as pa

from infra.failpoints import Failpoints
from infra.settings import Settings
from schemas.contract import CONTRACTS
from streams.lake.known import Known
from streams.lake.manifest import Manifest
from streams.lake.store import LakeStore
from tests.bench.parts.lake_phases import Meter
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench
from tests.bench.workers import Inside, Worker
from tests.streams.lake.shop import judged_history

SEED = 61
BATCHES = 8  # that are measured, after as many that are not
CHUNK = 1_000_000  # orders written at once
ORDERS_PER_CUSTOMER = 5
GENERATION = "g1"
FILL_SECONDS = 900
METHOD = """Judged records of the demo mix with all dials up, of which the first half founds a lake. Then orders
of other customers are written to its table until there are as many as the column says. A process that knows
nothing starts on that lake, as a driver does, and folds and writes the second half in batches; the median of
the last ones stands here. What is read from Kafka and judged is left out: it does not know the tables. Only
orders are multiplied, in silver and in the indexes by order and by customer; a row of the other tables costs
what the notes say."""


def measure(bench: Bench) -> Figures:
    records = bench.pick(80_000, 16_000)
    sizes = {}
    for orders in bench.pick((100_000, 10_000_000), (10_000, 1_000_000)):
        bench.say(f"{orders:,} orders")
        settings = bench.settings(f"lake-growth-{orders}")
        with Worker(fill, settings, orders, records) as worker:
            worker.result(FILL_SECONDS)
        with Worker(run, settings, records) as worker:
            sizes[str(orders)] = worker.result(FILL_SECONDS)
    small, large = sizes.values()
    ratios = {name: round(large[name] / small[name], 2) for name in ("cpu_ms", "ms")}
    return {"records": records // 2 // (2 * BATCHES), "sizes": sizes, "ratios": ratios}


def fill(inside: Inside, settings: Settings, orders: int, records: int) -> None:
    """Found the lake with the first half of the records, then write orders."""
    inside.ready()
    store = LakeStore(str(settings.state_dir / "lake"), Failpoints(settings))
    manifest = store.open(GENERATION)
    first = {topic: rows.head(rows.height // 2) for topic, rows in judged_history(records, SEED).items()}
    batch = Known(store, manifest).tables(settings.shop_timezone).fold(1, first)
    manifest = store.write(replace(manifest, number=1), batch.rows)
    for rows in made_up(batch.rows["orders"], orders):
        manifest = store.write(replace(manifest, number=manifest.number + 1), {"orders": rows})
        inside.show(manifest.number)
    store.close()


def made_up(templates: pl.DataFrame, orders: int) -> Iterator[pl.DataFrame]:
    """So many orders like these, with other ids, of a fifth as many customers."""
    chance = random.Random(SEED)
    customers = uuids(chance, max(1, orders // ORDERS_PER_CUSTOMER))
    for n, begin in enumerate(range(0, orders, CHUNK)):
        number = min(CHUNK, orders - begin)
        yield templates.sample(number, with_replacement=True, seed=n).with_columns(
            order_id=uuids(chance, number),
            event_id=uuids(chance, number),
            customer_id=customers.sample(number, with_replacement=True, seed=n),
        )


def uuids(chance: random.Random, number: int) -> pl.Series:
    """Random ids."""
    bits = pa.py_buffer(chance.randbytes(16 * number))
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), number, [None, bits])
    text = pl.col("hex").str
    parts = [text.slice(*at) for at in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
    digits = pl.Series("hex", packed.cast(pa.binary())).bin.encode("hex").to_frame()
    return digits.select(pl.concat_str(*parts, separator="-")).to_series()


def run(inside: Inside, settings: Settings, records: int) -> dict[str, Any]:
    """Start on the lake as a driver does, and take in the second half of the records."""
    batches = list(second_half(records))
    process = psutil.Process()
    before = process.memory_info().rss
    inside.ready()
    store = LakeStore(str(settings.state_dir / "lake"), Failpoints(settings))
    manifest: Manifest = store.open(GENERATION)
    began = time.monotonic()
    tables = Known(store, manifest).tables(settings.shop_timezone)
    start_seconds = time.monotonic() - began
    found = []
    for judged in batches:
        meter = Meter()
        with meter.of("fold"):
            batch = tables.fold(manifest.number + 1, judged)
        with meter.of("write"):
            manifest = store.write(replace(manifest, number=manifest.number + 1), batch.rows)
        with meter.of("take in"):
            tables.take_in(batch)
        found.append(meter)
    store.close()
    measured = found[BATCHES:]
    return {
        "start_s": round(start_seconds, 1),
        "rss_mb": round((process.memory_info().rss - before) / 2**20),
        "cpu_ms": round(median(sum(m.cpu.values()) for m in measured) * 1000, 1),
        "ms": round(median(sum(m.seconds.values()) for m in measured) * 1000, 1),
        "steps_ms": {
            name: round(median(m.seconds[name] for m in measured) * 1000, 1) for name in measured[0].seconds
        },
        "bytes_a_row": {name: round(size, 1) for name, size in tables.bytes_a_row().items()},
    }


def second_half(records: int) -> Iterator[dict[str, pl.DataFrame]]:
    """The batches that come after what `fill` took, each with its share of every topic."""
    history = judged_history(records, SEED)
    number = 2 * BATCHES
    for n in range(number):
        batch = {}
        for topic in CONTRACTS:
            rows = history[topic].slice(history[topic].height // 2)
            begin, end = (rows.height * m // number for m in (n, n + 1))
            batch[topic] = rows.slice(begin, end - begin)
        yield batch


def tables(figures: Figures) -> list[Table]:
    sizes = figures["sizes"]
    one = next(iter(sizes.values()))
    rows = [
        ["CPU, ms a batch", *(each["cpu_ms"] for each in sizes.values()), figures["ratios"]["cpu_ms"]],
        ["time, ms a batch", *(each["ms"] for each in sizes.values()), figures["ratios"]["ms"]],
        *(
            [f"of which {step}", *(each["steps_ms"][step] for each in sizes.values()), None]
            for step in one["steps_ms"]
        ),
        ["seconds to start on it", *(each["start_s"] for each in sizes.values()), None],
        ["memory that this took, MB", *(each["rss_mb"] for each in sizes.values()), None],
    ]
    last = list(sizes.values())[-1]["bytes_a_row"]
    notes = ["bytes a row in memory: " + ", ".join(f"{size:,.0f} {name}" for name, size in last.items())]
    columns = ("", *(f"{int(orders):,} orders" for orders in sizes), "ratio")
    return [Table(f"Batches of about {figures['records']:,} records", columns, rows, notes)]


PART = Part("lake-growth", "The lake's batches as its tables grow", METHOD, measure, tables)

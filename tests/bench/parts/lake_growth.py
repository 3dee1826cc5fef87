"""What the same batch costs the lake when its tables are small and when they are large, and what upkeep of them does.

Without Kafka and Spark, whose share follows the batch alone: judged records are folded and written, in a process of
its own for each size. Writes Delta tables below the state directory.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from resource import RUSAGE_SELF, getrusage
from statistics import mean, median
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
from streams.lake.upkeep import Upkeep
from tests.bench.parts.lake_phases import Meter
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench
from tests.bench.workers import Inside, Worker
from tests.streams.lake.shop import judged_history

SEED = 61
BATCHES = 8  # that are measured, after as many that are not
CHUNK = 500_000  # rows written at once
ORDERS_PER_CUSTOMER = 5
GENERATION = "g1"
FILL_SECONDS = 5_400
# Tables that grow, and how many orders there are for each of their rows.
GROWING = {
    "orders": 1,
    "order_items": 1,
    "payments": 1,
    "clickstream": 1,
    "customers": ORDERS_PER_CUSTOMER,
    "customers_versions": ORDERS_PER_CUSTOMER,
    "products_versions": ORDERS_PER_CUSTOMER,
    "sessions": ORDERS_PER_CUSTOMER,
    "dim_customers": ORDERS_PER_CUSTOMER,
    "customer_lifetime_value": ORDERS_PER_CUSTOMER,
    "fct_orders": 1,
    "fct_order_items": 1,
}
# What names something there are no more of than before, or nobody at all.
KEPT = ("product_id", "transaction_id")
OLDER = "products_versions"  # of the same few products, below all that there are
METHOD = """Judged records of the demo mix with all dials up, of which the first half founds a lake. Then rows of
other shoppers are written until there are as many orders as the column says, with a line, a payment, a click and
the facts of each, and for every fifth a customer with version, history, session and lifetime value, and one more
old version of a product, of which there are as few as before. A process that knows nothing starts on that lake, as
a driver does, and folds and writes the second half in batches; the median of the last ones stands here. Then upkeep
folds all tables that are large enough, in one pause. A table is folded again when it has doubled, so that a batch's
share of it is that pause divided by the batches that bring as many orders as there are. What is read from Kafka and
judged is left out: it does not know the tables, and with it the ratios would be nearer to 1."""


def measure(bench: Bench) -> Figures:
    records = bench.pick(80_000, 16_000)
    sizes = {}
    for orders in bench.pick((100_000, 10_000_000), (10_000, 100_000)):
        bench.say(f"{orders:,} orders")
        settings = bench.settings(f"lake-growth-{orders}")
        with Worker(fill, settings, orders, records) as worker:
            worker.result(FILL_SECONDS)
        with Worker(run, settings, records) as worker:
            sizes[str(orders)] = worker.result(FILL_SECONDS)
    small, large = sizes.values()
    ratios = {name: round(large[name] / small[name], 2) for name in ("cpu_ms", "ms", "ms_with_upkeep")}
    return {"records": records // 2 // (2 * BATCHES), "sizes": sizes, "ratios": ratios}


def fill(inside: Inside, settings: Settings, orders: int, records: int) -> None:
    """Found the lake with the first half of the records, then write rows."""
    inside.ready()
    store = LakeStore(str(settings.state_dir / "lake"), Failpoints(settings))
    manifest = store.open(GENERATION)
    first = {topic: rows.head(rows.height // 2) for topic, rows in judged_history(records, SEED).items()}
    batch = Known(store, manifest).tables(settings.shop_timezone).fold(1, first)
    manifest = store.write(replace(manifest, number=1), batch.rows)
    chance = random.Random(SEED)
    customers = uuids(chance, max(1, orders // ORDERS_PER_CUSTOMER))
    for name, per in GROWING.items():
        for rows in made_up(batch.rows[name], orders // per, customers, chance, name == OLDER):
            manifest = store.write(replace(manifest, number=manifest.number + 1), {name: rows})
            inside.show(manifest.number)
    store.close()


def made_up(
    templates: pl.DataFrame, number: int, customers: pl.Series, chance: random.Random, older: bool
) -> Iterator[pl.DataFrame]:
    """So many rows like these, with other ids; each customer comes once before one comes again.

    `older`: versions below all that there are.
    """
    ids = [name for name in templates.columns if name.endswith("_id") and name not in KEPT]
    for n, begin in enumerate(range(0, number, CHUNK)):
        rows = min(CHUNK, number - begin)
        at = pl.int_range(begin, begin + rows, eager=True) % customers.len()
        versions = {"version": pl.int_range(-begin - rows, -begin, eager=True)} if older else {}
        new = versions | {
            name: customers[at] if name == "customer_id" else uuids(chance, rows) for name in ids
        }
        yield templates.sample(rows, with_replacement=True, seed=n).with_columns(**new)


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
    found, orders = [], []
    for judged in batches:
        meter = Meter()
        with meter.of("fold"):
            batch = tables.fold(manifest.number + 1, judged)
        with meter.of("write"):
            manifest = store.write(replace(manifest, number=manifest.number + 1), batch.rows)
        with meter.of("take in"):
            tables.take_in(batch)
        found.append(meter)
        orders.append(batch.rows["orders"].height)
    measured = found[BATCHES:]
    ms = median(sum(m.seconds.values()) for m in measured) * 1000
    began = time.monotonic()
    manifest = store.upkeep(Upkeep(Failpoints(settings), settings.state_dir / "upkeep"), manifest)
    upkeep_seconds = time.monotonic() - began
    store.close()
    share = 1000 * upkeep_seconds * mean(orders) / manifest.folded.get("orders", len(orders) * mean(orders))
    return {
        "start_s": round(start_seconds, 1),
        "rss_mb": round((process.memory_info().rss - before) / 2**20),
        "cpu_ms": round(median(sum(m.cpu.values()) for m in measured) * 1000, 1),
        "ms": round(ms, 1),
        "upkeep_s": round(upkeep_seconds, 1),
        "upkeep_rows": sum(manifest.folded.values()),
        "ms_with_upkeep": round(ms + share, 1),
        "peak_mb": round(getrusage(RUSAGE_SELF).ru_maxrss / 2**10 - before / 2**20),
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
        *upkeep_rows(sizes, figures["ratios"]),
        ["seconds to start on it", *(each["start_s"] for each in sizes.values()), None],
        ["memory that this took, MB", *(each["rss_mb"] for each in sizes.values()), None],
    ]
    last = list(sizes.values())[-1]["bytes_a_row"]
    notes = ["bytes a row in memory: " + ", ".join(f"{size:,.0f} {name}" for name, size in last.items())]
    columns = ("", *(f"{int(orders):,} orders" for orders in sizes), "ratio")
    return [Table(f"Batches of about {figures['records']:,} records", columns, rows, notes)]


def upkeep_rows(sizes: Figures, ratios: Figures) -> list[list[Any]]:
    """None of figures from before upkeep was measured."""
    if "ms_with_upkeep" not in ratios:
        return []

    def of(name: str) -> list[Any]:
        return [each[name] for each in sizes.values()]

    return [
        ["time with its share of upkeep, ms", *of("ms_with_upkeep"), ratios["ms_with_upkeep"]],
        ["seconds in which upkeep folds all", *of("upkeep_s"), None],
        ["rows that it leaves", *of("upkeep_rows"), None],
        ["memory at most, MB", *of("peak_mb"), None],
    ]


PART = Part("lake-growth", "The lake's batches as its tables grow", METHOD, measure, tables)

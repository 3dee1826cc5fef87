"""`python -m replay.diff.extract --manifest N --out DIR`: what a generation's lake holds, as files to compare.

Runs with DATAFLOW_GENERATION and that generation's own code. Reads its lake at the manifest: silver and gold tables,
and out of these the metrics. Writes Parquet files and at last `index.json` to DIR, which exists and is empty.
"""

import argparse
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import duckdb

from infra.entry import run_process
from infra.failpoints import Failpoints
from infra.settings import Settings
from replay.diff.index import Index, Relation
from replay.diff.measures import topics_of, write_metric
from replay.diff.tables import bounded, literal, write_table
from schemas.errors import SettingsError
from schemas.metrics import METRICS
from schemas.tables import TABLES
from schemas.views import VIEWS
from serving.lake.reader import Lake
from serving.lake.views import quoted
from streams.lake.place import lake_root

# Everything that makes numbers goes before what compares them.
NICENESS = 15


def extract(
    settings: Settings,
    number: int,
    out: Path,
    tables: Collection[str] | None = None,
    metrics: Collection[str] | None = None,
) -> Index:
    """The generation that the settings name at manifest `number`; `tables` and `metrics` None mean all.

    Views are written if they are named: of equal tables the same SQL makes the same rows. Names that this code does
    not know are passed over: they may be the other generation's. Raises NoLake, NoSuchManifest, Gone.
    """
    if settings.dataflow_generation is None:
        raise SettingsError(
            "DATAFLOW_GENERATION: expected the number of the generation to extract, and it is not set"
        )
    generation = f"g{settings.dataflow_generation}"
    lake = Lake(lake_root(settings, generation))
    manifest = lake.at(number)
    # A topic that got a contract since has no table in this lake.
    asked = [
        metric
        for metric in METRICS.values()
        if (metrics is None or metric.name in metrics) and topics_of(metric) <= manifest.tables.keys()
    ]
    needed = {topic for metric in asked for topic in topics_of(metric)}
    found: list[Relation] = []
    for table in TABLES.values():
        wanted = table.layer != "bronze" and (tables is None or table.name in tables)
        if table.name in manifest.tables and (wanted or table.name in needed):
            written = write_table(lake, manifest, table, out, settings.shop_timezone)
            found += [written] if wanted else []
    for view in VIEWS.values():
        if tables is not None and view.name in tables and manifest.tables.keys() >= set(view.reads):
            found.append(write_table(lake, manifest, view, out, settings.shop_timezone))
    with bounded(duckdb.connect(), out) as database:
        for topic in sorted(needed):
            file = literal(out / f"table-{topic}.parquet")
            database.execute(f"CREATE VIEW {quoted(topic)} AS SELECT * FROM {file}")
        for metric in asked:
            found += write_metric(database, manifest, metric, out)
    index = Index(
        generation,
        manifest.number,
        manifest.until,
        manifest.code,
        settings.shop_timezone,
        settings.shop_currency,
        tuple(found),
    )
    Failpoints(settings).hit("diff.before_index")
    index.write(out)
    return index


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m replay.diff.extract")
    parser.add_argument("--manifest", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="append", help="Only these tables, and the metrics that are named.")
    parser.add_argument(
        "--metric", action="append", help="Only these metrics, and the tables that are named."
    )
    given = parser.parse_args(arguments)
    tables, metrics = given.table, given.metric
    if tables or metrics:
        tables, metrics = tables or (), metrics or ()
    os.nice(NICENESS)
    extract(Settings.load(), given.manifest, given.out, tables, metrics)


if __name__ == "__main__":
    sys.exit(run_process(main))

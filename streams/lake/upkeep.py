"""Upkeep of the Delta tables, between two batches: many small files become few, superseded rows go, old files too.

A keyed table is folded to one row a key when it has twice the rows that it had after the last time, so that what a row
costs does not grow with the table. Everything is a commit like any other, and a manifest names what it leads to:
readers of older manifests keep their files until these are older than KEPT_HOURS.
"""

import logging
from collections.abc import Mapping

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from infra.failpoints import Failpoints
from schemas.contract import CONTRACTS
from schemas.table import BATCH, GONE
from schemas.tables import TABLES, Table
from streams.lake.commit import once
from streams.lake.files import late_columns, quoted, source
from streams.lake.frames import arrow_schema

EVERY_BATCHES = 20
SMALL_FILES = 50
FOLD_FROM_ROWS = 20_000
KEPT_HOURS = 7 * 24
FOLD_MEMORY = "512MB"

log = logging.getLogger(__name__)


class Upkeep:
    """Looks after the tables of one driver; remembers how large they were when they were folded."""

    def __init__(self, failpoints: Failpoints) -> None:
        self._failpoints = failpoints
        self._folded: dict[str, int] = {}

    def due(self, batch: int) -> bool:
        return batch % EVERY_BATCHES == 0

    def run(self, tables: Mapping[str, DeltaTable]) -> list[str]:
        """Do what is worth doing; returns the tables that have changed, which a manifest has to name then."""
        changed = []
        for name, table in tables.items():
            files = pa.table(table.get_add_actions(flatten=True))
            rows = sum(files["num_records"].to_pylist())
            declared = TABLES.get(name)
            self._failpoints.hit("lake.before_upkeep")
            if declared and declared.is_keyed and rows > max(FOLD_FROM_ROWS, 2 * self._folded.get(name, 0)):
                self._folded[name] = fold(table, declared)
            elif files.num_rows >= SMALL_FILES:
                table.optimize.compact(commit_properties=once({"upkeep": "compact"}))
            else:
                continue
            table.vacuum(KEPT_HOURS, dry_run=False, commit_properties=once({"upkeep": "vacuum"}))
            self._failpoints.hit("lake.after_upkeep")
            changed.append(name)
            log.info("upkeep of %s: %d rows in %d files before", name, rows, files.num_rows)
        return changed


def fold(table: DeltaTable, declared: Table) -> int:
    """Rewrite a keyed table to the newest row of each key; returns how many rows that are."""
    # What a deleted entity's last version was decides about records that come later still.
    keep_gone = declared.name in CONTRACTS
    schema = arrow_schema(declared)
    key, columns = (", ".join(map(quoted, names)) for names in (declared.key, schema.names))
    rows = source(table.file_uris(), late_columns(declared, table))
    with duckdb.connect(config={"memory_limit": FOLD_MEMORY, "threads": 1}) as database:
        newest = database.execute(
            f"SELECT {columns} FROM {rows} "
            f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {BATCH} DESC) = 1 "
            f"AND ({'true' if keep_gone else f'NOT {GONE}'}) ORDER BY {BATCH}"
        ).to_arrow_reader()
        kept = pa.RecordBatchReader.from_batches(
            schema, (pa.Table.from_batches([b]).cast(schema).to_batches()[0] for b in newest if b.num_rows)
        )
        write_deltalake(table, kept, mode="overwrite", commit_properties=once({"upkeep": "fold"}))
    return sum(pa.table(table.get_add_actions(flatten=True))["num_records"].to_pylist())

"""A keyed table folded to the newest row of each key, however large it is: memory follows FOLD_MB, not the table.

First the keys alone are read, a share of them at a time, for where the rows that stand lie; then all rows stream by
once, those of older batches first, and those that stand are written. Reads and overwrites one Delta table; what does
not fit into memory goes to files in a scratch directory.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from schemas.contract import CONTRACTS
from schemas.table import BATCH, GONE
from schemas.tables import Table
from streams.lake.commit import once
from streams.lake.files import quoted
from streams.lake.frames import arrow_schema

FOLD_MB = 512
# A key and where its newest row lies took 100 to 200 bytes in DuckDB, so that a share fills less than half.
KEYS_A_MB = 2_000
ROWS_AT_ONCE = 16_384
LARGEST_FILE = 2**40  # rows

Standing = list[pl.Series]  # for each file, of each row whether it stands


def fold(table: DeltaTable, declared: Table, scratch: Path) -> int:
    """Rewrite a keyed table to the newest row of each key; returns how many rows that are."""
    actions = _oldest_first(pa.table(table.get_add_actions(flatten=True)))
    paths = {uri.rpartition("/")[2]: uri for uri in table.file_uris()}
    files = [paths[path.rpartition("/")[2]] for path in actions["path"].to_pylist()]
    stands = standing(declared, files, actions["num_records"].to_pylist(), scratch)
    schema = arrow_schema(declared)
    rows = pa.RecordBatchReader.from_batches(schema, _kept(schema, dict(zip(files, stands, strict=True))))
    write_deltalake(table, rows, mode="overwrite", commit_properties=once({"upkeep": "fold"}))
    return sum(each.sum() for each in stands)


def _oldest_first(actions: pa.Table) -> pa.Table:
    """The files in the order of their first batches, as far as the log tells: those of wide tables it once did not.

    So rows of batches that follow each other lie together; which of them stand does not depend on the order.
    """
    first = f"min.{BATCH}"
    return actions.sort_by(first) if first in actions.column_names else actions


def standing(declared: Table, files: Sequence[str], rows: Sequence[int], scratch: Path) -> Standing:
    """Which rows of the files stand; `rows` is how many each has."""
    found = [pl.repeat(False, number, eager=True) for number in rows]
    if not files:
        return found
    # What a deleted entity's last version was decides about records that come later still.
    keep_gone = declared.name in CONTRACTS
    key = ", ".join(map(quoted, declared.key))
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    shares = -(-sum(rows) // (FOLD_MB * KEYS_A_MB))
    config = {"memory_limit": f"{FOLD_MB}MB", "temp_directory": str(scratch), "threads": 1}
    with duckdb.connect(config=config) as database:
        for share in range(shares):
            # One aggregate of plain numbers, which DuckDB takes to disk where it must.
            newest = database.execute(
                f"SELECT place // {LARGEST_FILE} AS file, place % {LARGEST_FILE} AS at FROM ("
                f"SELECT arg_max(place, {BATCH}) AS place FROM ("
                f"SELECT {key}, {BATCH}, {GONE}, (file_index * {LARGEST_FILE} + file_row_number)::BIGINT AS place "
                f"FROM read_parquet([{listed}]) WHERE hash({key}) % {shares} = {share}) "
                f"GROUP BY {key} HAVING {'true' if keep_gone else f'NOT arg_max({GONE}, {BATCH})'})"
            )
            for (file,), places in newest.pl().partition_by("file", as_dict=True).items():
                found[file].scatter(places["at"], True)
    return found


def _kept(schema: pa.Schema, stands: Mapping[str, pl.Series]) -> Iterator[pa.RecordBatch]:
    """The rows of the files that stand, as the table has them now: what a file is older than is null."""
    for file, those in stands.items():
        done = 0
        with pq.ParquetFile(file) as rows:
            for batch in rows.iter_batches(ROWS_AT_ONCE):
                kept = batch.filter(those.slice(done, batch.num_rows).to_arrow())
                done += batch.num_rows
                if kept.num_rows:
                    yield _shaped(kept, schema)


def _shaped(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    there = set(rows.schema.names)
    columns = [
        rows[field.name].cast(field.type) if field.name in there else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)

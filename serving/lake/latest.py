"""A topic's silver table as events for the fold: of each entity its latest version, deleted ones too; each fact once.

Money in minor units, times in µs, nothing that is null, as an accepted verdict has them.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
from deltalake import DeltaTable

from schemas.contract import Contract, Field
from schemas.table import BATCH, CONTENT
from schemas.tables import silver
from serving.lake.views import parquet, quoted
from streams.lake.files import late_columns
from streams.lake.manifest import Manifest

PLACE = ("_partition", "_offset")


@dataclass(frozen=True)
class LatestRow:
    """`content` is the hash that tells a repeat from a conflict; None for a fact."""

    partition: int
    offset: int
    content: int | None
    event: dict[str, Any]


def latest_rows(
    connection: duckdb.DuckDBPyConnection,
    root: str,
    manifest: Manifest,
    contract: Contract,
    columns: Collection[str],
    at_once: int,
) -> Iterator[list[LatestRow]]:
    """All rows of the table at the manifest, some at a time; those of one key of facts come together.

    `columns` are the fields that the events have to have.
    """
    table = silver(contract)
    if table.name not in manifest.tables:
        return
    delta = DeltaTable(f"{root}/{table.name}", version=manifest.tables[table.name])
    if not (files := delta.file_uris()):
        return
    names = [name for name in contract.fields if name in columns]
    picked = [f"{_value(contract.fields[name])} AS {quoted(name)}" for name in names]
    picked += [CONTENT if table.is_keyed else f"NULL AS {CONTENT}", *PLACE]
    rows = f"SELECT {', '.join(picked)} FROM {parquet(files, late_columns(table, delta))}"
    if table.is_keyed:
        key = ", ".join(map(quoted, table.key))
        rows += f" QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {BATCH} DESC) = 1"
    else:
        rows += f" ORDER BY {quoted(contract.key)}"
    result = connection.execute(rows)
    while chunk := result.fetchmany(at_once):
        yield [_row(names, row) for row in chunk]


def _row(names: Sequence[str], row: Sequence[Any]) -> LatestRow:
    content, partition, offset = row[len(names) :]
    event = {name: value for name, value in zip(names, row, strict=False) if value is not None}
    return LatestRow(partition, offset, content, event)


def _value(field: Field) -> str:
    name = quoted(field.name)
    match field.type:
        case "decimal":
            return f"({name} * {10**field.scale})::BIGINT"
        case "timestamp":
            return f"epoch_us({name}::TIMESTAMP)"
        case _:
            return name

"""The Delta tables themselves: how one is made and set, and in which form rows go into it."""

from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable, Schema

from schemas.tables import TABLES
from streams.lake.frames import arrow_schema
from streams.lake.manifest import Manifest
from streams.lake.place import MANIFESTS

# How far back a table can be read. Whoever commits to a table or opens it looks at every file of its log: on a busy
# machine an append took 3 ms with an empty one, 40 ms with 10,000 files, and 100 ms where it looked for old ones, too.
LOG_HOURS = 24
PROPERTIES = {
    "delta.logRetentionDuration": f"interval {LOG_HOURS} hours",
    "delta.enableExpiredLogCleanup": "false",  # with each commit; upkeep does it now and then
    # Statistics of all columns. By default only the first 32 have some, and `_batch` stands behind those of a contract.
    "delta.dataSkippingNumIndexedCols": "-1",
}
_MANIFEST = pa.schema([pa.field("number", pa.int64(), False), pa.field("manifest", pa.string(), False)])


def schema_of(name: str) -> pa.Schema:
    """Of a declared table, or of the manifests."""
    return _MANIFEST if name == MANIFESTS else arrow_schema(TABLES[name])


def create(root: str, name: str) -> DeltaTable:
    """The empty table under `root`, unless there is one."""
    doc = "What each batch left." if name == MANIFESTS else TABLES[name].doc
    schema = Schema.from_arrow(schema_of(name))
    return DeltaTable.create(
        f"{root}/{name}", schema, mode="ignore", name=name, description=doc, configuration=PROPERTIES
    )


def unset(table: DeltaTable) -> dict[str, str]:
    """The properties that a table lacks, since it was made before they were declared."""
    found = table.metadata().configuration
    return {name: value for name, value in PROPERTIES.items() if found.get(name) != value}


def manifest_rows(manifests: Sequence[Manifest]) -> pa.Table:
    """As they stand in the table of manifests."""
    columns = {"number": [each.number for each in manifests], "manifest": [m.to_json() for m in manifests]}
    return pa.table(columns, schema=_MANIFEST)

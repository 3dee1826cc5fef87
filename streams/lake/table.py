"""The Delta tables themselves: how one is made, and in which form rows go into it."""

from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable, Schema

from schemas.tables import TABLES
from streams.lake.frames import arrow_schema
from streams.lake.manifest import Manifest
from streams.lake.place import MANIFESTS

_MANIFEST = pa.schema([pa.field("number", pa.int64(), False), pa.field("manifest", pa.string(), False)])


def schema_of(name: str) -> pa.Schema:
    """Of a declared table, or of the manifests."""
    return _MANIFEST if name == MANIFESTS else arrow_schema(TABLES[name])


def create(root: str, name: str) -> DeltaTable:
    """The empty table under `root`, unless there is one."""
    doc = "What each batch left." if name == MANIFESTS else TABLES[name].doc
    schema = Schema.from_arrow(schema_of(name))
    return DeltaTable.create(f"{root}/{name}", schema, mode="ignore", name=name, description=doc)


def manifest_rows(manifests: Sequence[Manifest]) -> pa.Table:
    """As they stand in the table of manifests."""
    columns = {"number": [each.number for each in manifests], "manifest": [m.to_json() for m in manifests]}
    return pa.table(columns, schema=_MANIFEST)

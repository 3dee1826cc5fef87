"""The Delta tables of one generation, written by one driver at a time.

Every commit is a compare-and-set: it succeeds only as the next version after the one that this driver knows. So of two
drivers one fails before it has changed what a manifest names, and no lock has to be trusted. Delta's own log gives
this on every store that it runs on. Writes go through delta-rs: an append is one commit of a few milliseconds, where
the same append as a Spark job takes a quarter of a second.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from infra.failpoints import Failpoints
from schemas.errors import DataflowError, GenerationError, Transient
from schemas.tables import TABLES, Table
from streams.lake.commit import once
from streams.lake.frames import arrow_schema
from streams.lake.manifest import Manifest
from streams.lake.place import MANIFESTS
from streams.lake.upkeep import Upkeep

_MANIFEST_SCHEMA = pa.schema(
    [pa.field("number", pa.int64(), False), pa.field("manifest", pa.string(), False)]
)
WRITERS = 4
RECENT_COMMITS = 20


class Fenced(DataflowError, Transient):
    """Another driver writes to this lake."""


class LakeStore:
    """The tables under `root` (a directory or an object store's URL)."""

    def __init__(self, root: str, failpoints: Failpoints) -> None:
        self._root = root.rstrip("/")
        self.failpoints = failpoints
        self._tables: dict[str, DeltaTable] = {}
        self._pool = ThreadPoolExecutor(WRITERS, "delta")

    def close(self) -> None:
        self._pool.shutdown()

    def uri(self, name: str) -> str:
        return f"{self._root}/{name}"

    def newest_manifest(self) -> Manifest | None:
        """None if there is no lake yet, or none that its founder finished."""
        try:
            table = DeltaTable(self.uri(MANIFESTS))
        except TableNotFoundError:
            return None
        return _manifest_of(table)

    def open(self, generation: str, topics: Mapping[str, str] | None = None) -> Manifest:
        """Make this the driver: found the lake if there is none, take back what no manifest names.

        `topics` are the ids of the source topics: a lake is a function of these and no others. Raises GenerationError
        if it is that of another generation, or of topics that were created again since.
        """
        for table in TABLES.values():
            self._tables[table.name] = self._open_or_create(
                table.name, arrow_schema(table), table.doc, table.layer
            )
        self._tables[MANIFESTS] = self._open_or_create(
            MANIFESTS, _MANIFEST_SCHEMA, "What each batch left.", ""
        )
        manifest = _manifest_of(self._tables[MANIFESTS])
        if manifest is None:
            manifest = Manifest(0, generation, {}, {})
        others = [t for t, topic_id in manifest.topics.items() if (topics or {}).get(t, topic_id) != topic_id]
        if others:
            raise GenerationError(
                f"expected a lake of these source topics at {self._root}, and {', '.join(others)} were created again "
                "since it was filled: `dataflow generation new` starts over; or name another LAKE_URI"
            )
        manifest = replace(manifest, topics=dict(topics or manifest.topics))
        if manifest.generation != generation:
            raise GenerationError(
                f"expected the lake of generation {generation} at {self._root}, and it is that of "
                f"{manifest.generation}: name another LAKE_URI, or move the old one away"
            )
        return self._take_back(manifest)

    def write(self, manifest: Manifest, rows: Mapping[str, pl.DataFrame]) -> Manifest:
        """Append the rows of a batch to their tables, then the manifest, completed with the tables' versions.

        Raises Fenced if another driver was faster; then nothing of this batch counts.
        """
        note = {"batch": str(manifest.number), "until": manifest.to_json()}
        todo = [(name, frame) for name, frame in sorted(rows.items()) if frame.height]
        for layer in ("bronze", "silver", "gold"):
            names = [(name, frame) for name, frame in todo if TABLES[name].layer == layer]
            self.failpoints.hit(f"lake.before_{layer}")
            list(self._pool.map(lambda each: self._append(each[0], each[1].to_arrow(), note), names))
            self.failpoints.hit(f"lake.after_{layer}")
        return self._seal(manifest)

    def upkeep(self, upkeep: Upkeep, manifest: Manifest) -> Manifest:
        """Let `upkeep` tidy the tables; returns the manifest that says where everything is now. Raises Fenced."""
        try:
            changed = upkeep.run({name: self._tables[name] for name in sorted(self._tables)})
        except CommitFailedError as error:
            raise Fenced("somebody else has written to this lake during upkeep: one driver a lake") from error
        return self._seal(manifest) if changed else manifest

    def read(self, table: Table, version: int, columns: Iterable[str]) -> pl.DataFrame:
        """Columns of all rows that the table's files hold at a version."""
        return pl.read_delta(self.uri(table.name), version=version, columns=list(columns))

    def _seal(self, manifest: Manifest) -> Manifest:
        versions = {name: table.version() for name, table in self._tables.items() if name != MANIFESTS}
        sealed = replace(manifest, tables=versions)
        row = pa.table({"number": [sealed.number], "manifest": [sealed.to_json()]}, schema=_MANIFEST_SCHEMA)
        self.failpoints.hit("lake.before_manifest")
        self._append(MANIFESTS, row, {"manifest": sealed.to_json()})
        self.failpoints.hit("lake.after_manifest")
        return sealed

    def _append(self, name: str, rows: pa.Table, note: Mapping[str, str]) -> None:
        table = self._tables[name]
        schema = _MANIFEST_SCHEMA if name == MANIFESTS else arrow_schema(TABLES[name])
        self.failpoints.hit(f"lake.before_append_{name}")
        try:
            write_deltalake(table, rows.cast(schema), mode="append", commit_properties=once(note))
        except CommitFailedError as error:
            raise Fenced(
                f"expected table {name} at version {table.version()}, and somebody else has written to it: one driver "
                "a lake; this one stops, and the next one goes on from the newest manifest"
            ) from error
        self.failpoints.hit(f"lake.after_append_{name}")

    def _open_or_create(self, name: str, schema: pa.Schema, doc: str, layer: str) -> DeltaTable:
        try:
            return DeltaTable(self.uri(name))
        except TableNotFoundError:
            return DeltaTable.create(
                self.uri(name), Schema.from_arrow(schema), mode="ignore", name=name, description=doc
            )

    def _take_back(self, manifest: Manifest) -> Manifest:
        """Bring every table back to what the manifest names; a new manifest says where that is now."""
        moved = False
        for name, table in self._tables.items():
            named = manifest.tables.get(name, 0)
            if name == MANIFESTS or table.version() == named:
                continue
            moved = True
            self.failpoints.hit("lake.before_take_back")
            table.restore(named, commit_properties=once({"taken_back_to": str(named)}))
            self._tables[name] = DeltaTable(self.uri(name))
            self.failpoints.hit("lake.after_take_back")
        return self._seal(manifest) if moved else manifest


def _manifest_of(table: DeltaTable) -> Manifest | None:
    # The newest commits that are no manifest are the log's own, such as a checkpoint's.
    # The newest commits may be upkeep, which is no manifest.
    for limit in (RECENT_COMMITS, None):
        for commit in table.history(limit):
            if "manifest" in commit:
                return Manifest.from_json(commit["manifest"])
    return None

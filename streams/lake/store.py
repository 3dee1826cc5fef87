"""The Delta tables of one generation, written by one driver at a time.

Every commit is a compare-and-set: it succeeds only as the next version after the one that this driver knows. So of two
drivers one fails before it has changed what a manifest names, and no lock has to be trusted. Delta's own log gives
this wherever a file can be made only if there is none, as on file systems with hard links. Writes go through delta-rs:
an append is one commit of a few milliseconds, where the same append as a Spark job takes a quarter of a second.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from infra.failpoints import Failpoints
from infra.kafka import Offsets
from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS
from schemas.errors import GenerationError
from schemas.tables import TABLES, Table, bronze
from streams.lake import evolution
from streams.lake.commit import once
from streams.lake.evolution import bringing, new_columns
from streams.lake.halfway import AGAIN, Fenced, Unfinished, whole, written
from streams.lake.lost import expect_all
from streams.lake.manifest import Manifest, manifest_of, newest_manifest, note_of
from streams.lake.place import MANIFESTS
from streams.lake.table import create, manifest_rows, schema_of, unset
from streams.lake.upkeep import Upkeep

WRITERS = 4


class LakeStore:
    """The tables under `root`, a directory. `starts` are the offsets at which the generation begins, where not at 0."""

    def __init__(self, root: str, failpoints: Failpoints, starts: Offsets = MappingProxyType({})) -> None:
        self._root = root.rstrip("/")
        self._reached = dict(starts)  # by the newest manifest
        self.failpoints = failpoints
        self._tables: dict[str, DeltaTable] = {}
        self._unfinished: str | None = None
        self._pool = ThreadPoolExecutor(WRITERS, "delta")

    def close(self) -> None:
        self._pool.shutdown()

    def uri(self, name: str) -> str:
        return f"{self._root}/{name}"

    def newest_manifest(self) -> Manifest | None:
        """None if there is no lake yet, or none that its founder finished."""
        return newest_manifest(self._root)

    def expect_none(self) -> None:
        """Raise LostLake if batches are in tables, where there is no manifest."""
        expect_all(self._found(), None, self._root)

    def open(
        self,
        generation: str,
        topics: Mapping[str, str] | None = None,
        definition: Mapping[str, str] | None = None,
        schemas: Mapping[str, Sequence[RegisteredSchema]] | None = None,
    ) -> Manifest:
        """Make this the driver: found the lake if there is none, take back what no manifest names, add new columns.

        Properties that tables lack, being older than these, are set.
        `topics` are the ids of the source topics: a lake is a function of these and no others. `definition` is what
        decides about a record (see `streams.lake.code`), `schemas` are those that the registry lists.
        Raises GenerationError, before anything is written, if it is the lake of another generation, of topics that were
        created again since, or of declarations that would have made something else of the records in it, or if a part
        of it is gone; Unfinished if it failed.
        """
        with written("what belongs to a start", self._root):
            return self._open(generation, topics or {}, definition or {}, schemas or {})

    def _open(
        self,
        generation: str,
        topics: Mapping[str, str],
        definition: Mapping[str, str],
        schemas: Mapping[str, Sequence[RegisteredSchema]],
    ) -> Manifest:
        found = self._found()
        manifest = manifest_of(found[MANIFESTS]) if MANIFESTS in found else None
        expect_all(found, manifest, self._root)
        if manifest is None:
            manifest = Manifest(0, generation, {}, {})
        self._reached |= manifest.until
        self._refuse_other(manifest, generation, topics)
        evolution.check(manifest, definition)
        new = self._new_columns(found, manifest, schemas)
        # Whatever is refused has been by now: nothing was written for it.
        missing = {name: create(self._root, name) for name in (*TABLES, MANIFESTS) if name not in found}
        self._tables = found | missing
        moved = self._take_back(manifest)
        # A table that is taken back has its old columns and properties.
        self._add_columns(new)
        moved |= self._set_properties()
        manifest = replace(
            manifest,
            topics=dict(topics or manifest.topics),
            definition=dict(definition or manifest.definition),
        )
        return self._seal(manifest) if moved or new else manifest

    def _refuse_other(self, manifest: Manifest, generation: str, topics: Mapping[str, str]) -> None:
        """Raise GenerationError if this is the lake of something else."""
        others = [t for t, topic_id in manifest.topics.items() if topics.get(t, topic_id) != topic_id]
        if others:
            raise GenerationError(
                f"expected a lake of these source topics at {self._root}, and {', '.join(others)} were created again "
                "since it was filled: `dataflow generation new` starts over; or name another LAKE_URI"
            )
        if manifest.generation != generation:
            raise GenerationError(
                f"expected the lake of generation {generation} at {self._root}, and it is that of "
                f"{manifest.generation}: name another LAKE_URI, or move the old one away"
            )

    def write(
        self,
        manifest: Manifest,
        rows: Mapping[str, pl.DataFrame],
        take_in: Callable[[], object] = lambda: None,
    ) -> Manifest:
        """Append the rows of a batch to their tables, then the manifest, completed with the tables' versions.

        Each commit says of which batch and offsets it is (see `note_of`).
        `take_in` moves what this process knows of the tables to behind the batch, once its manifest is there.
        Raises Fenced if another driver was faster, Unfinished if any of it failed. Then this store writes no more: what
        it would write next rests on what is not so. Without its manifest nothing of the batch counts.
        """
        note = note_of(manifest, self._reached)
        todo = [(name, frame) for name, frame in sorted(rows.items()) if frame.height]
        with self._whole(f"batch {manifest.number}"):
            for layer in ("bronze", "silver", "gold"):
                names = [(name, frame) for name, frame in todo if TABLES[name].layer == layer]
                self.failpoints.hit(f"lake.before_{layer}")
                list(self._pool.map(lambda each: self._append(each[0], each[1].to_arrow(), note), names))
                self.failpoints.hit(f"lake.after_{layer}")
            sealed = self._seal(manifest, note)
            self._reached |= sealed.until
            take_in()
            return sealed

    def upkeep(self, upkeep: Upkeep, manifest: Manifest) -> Manifest:
        """Let `upkeep` tidy the tables; returns the manifest that says where all is now. Raises Fenced, Unfinished."""
        with self._whole("what upkeep has tidied"):
            try:
                tables = {name: self._tables[name] for name in sorted(self._tables)}
                folded = upkeep.run(tables, manifest.folded)
            except CommitFailedError as error:
                raise Fenced(
                    "somebody else has written to this lake during upkeep: one driver a lake"
                ) from error
            return manifest if folded is None else self._seal(replace(manifest, folded=folded))

    def read(self, table: Table, version: int, columns: Iterable[str]) -> pl.DataFrame:
        """Columns of all rows that the table's files hold at a version."""
        return pl.read_delta(self.uri(table.name), version=version, columns=list(columns))

    @contextmanager
    def _whole(self, what: str) -> Iterator[None]:
        """Do all of what is in the block, or write no more: only a start takes back what was left half-done."""
        if self._unfinished:
            raise Unfinished(
                f"expected {what} to come after something whole, and {self._unfinished} is not: {AGAIN}"
            )
        self._unfinished = what
        with whole(what), written(what, self._root):
            yield
        self._unfinished = None

    def _seal(self, manifest: Manifest, note: Mapping[str, str] | None = None) -> Manifest:
        versions = {name: table.version() for name, table in self._tables.items() if name != MANIFESTS}
        sealed = replace(manifest, tables=versions)
        row = manifest_rows([sealed])
        self.failpoints.hit("lake.before_manifest")
        self._append(MANIFESTS, row, {**(note or {}), "manifest": sealed.to_json()})
        self.failpoints.hit("lake.after_manifest")
        return sealed

    def _append(self, name: str, rows: pa.Table, note: Mapping[str, str]) -> None:
        table = self._tables[name]
        schema = schema_of(name)
        self.failpoints.hit(f"lake.before_append_{name}")
        try:
            write_deltalake(table, rows.cast(schema), mode="append", commit_properties=once(note))
        except CommitFailedError as error:
            raise Fenced(
                f"expected table {name} at version {table.version()}, and somebody else has written to it: one driver "
                "a lake; this one stops, and the next one goes on from the newest manifest"
            ) from error
        self.failpoints.hit(f"lake.after_append_{name}")

    def _found(self) -> dict[str, DeltaTable]:
        """The tables that there are, with that of the manifests."""
        return {name: table for name in (*TABLES, MANIFESTS) if (table := self._existing(name)) is not None}

    def _existing(self, name: str) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri(name))
        except TableNotFoundError:
            return None

    def _take_back(self, manifest: Manifest) -> bool:
        """Bring every table back to what the manifest names; returns whether one was elsewhere."""
        moved = False
        for name, table in self._tables.items():
            named = manifest.tables.get(name, 0)
            if name == MANIFESTS or table.version() == named:
                continue
            moved = True
            self.failpoints.hit("lake.before_take_back")
            try:
                table.restore(named, commit_properties=once({"taken_back_to": str(named)}))
            except CommitFailedError as error:
                raise Fenced(f"somebody else has written to table {name}: one driver a lake") from error
            self._tables[name] = DeltaTable(self.uri(name))
            self.failpoints.hit("lake.after_take_back")
        return moved

    def _new_columns(
        self,
        found: Mapping[str, DeltaTable],
        manifest: Manifest,
        schemas: Mapping[str, Sequence[RegisteredSchema]],
    ) -> dict[str, list[Field]]:
        """What was declared since the tables were made. Raises GenerationError if they cannot take it in."""
        added = {}
        for name, table in found.items():
            if name == MANIFESTS:
                continue
            named = manifest.tables.get(name, 0)
            # What no manifest names is taken back, columns too.
            stored = table if table.version() == named else DeltaTable(self.uri(name), version=named)
            if fields := new_columns(TABLES[name], stored.schema()):
                added[name] = fields
        for name, fields in added.items():
            topic = TABLES[name].topic
            if topic is not None:
                ids = bringing(topic, [field.name for field in fields], schemas.get(topic, ()))
                self._refuse_if_known(topic, ids, manifest)
        return added

    def _add_columns(self, added: Mapping[str, list[Field]]) -> None:
        for name, fields in added.items():
            told = once({"added": ", ".join(field.name for field in fields)})
            self.failpoints.hit("lake.before_new_column")
            try:
                self._tables[name].alter.add_columns(fields, commit_properties=told)
            except CommitFailedError as error:
                raise Fenced(f"somebody else has written to table {name}: one driver a lake") from error
            self.failpoints.hit("lake.after_new_column")

    def _set_properties(self) -> bool:
        """Set those that tables lack; returns whether there were any."""
        behind = {name: found for name, table in self._tables.items() if (found := unset(table))}
        for name, properties in behind.items():
            told = once({"set": ", ".join(properties)})
            try:
                self._tables[name].alter.set_table_properties(properties, commit_properties=told)
            except CommitFailedError as error:
                raise Fenced(f"somebody else has written to table {name}: one driver a lake") from error
        return bool(behind)

    def _refuse_if_known(self, topic: str, ids: Sequence[int], manifest: Manifest) -> None:
        """Raise GenerationError if records of these schemas are in: their rows would lack what they bring."""
        table = bronze(CONTRACTS[topic])
        if not ids or table.name not in manifest.tables:
            return
        known = self.read(table, manifest.tables[table.name], ["schema_id"])["schema_id"]
        if known.is_in(ids).any():
            raise GenerationError(
                f"expected no records yet that bring the new columns of topic {topic}, and there are some in the lake "
                f"(schema ids {', '.join(map(str, ids))}), whose rows are without: {evolution.NEW_LAKE}"
            )

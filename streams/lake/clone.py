"""A lake that begins as another generation's: its tables without a copy of their files, some of them made anew.

A table that is taken over gets hard links to the log, up to the version that the base's newest manifest names, and to
the Parquet files of that version: neither is ever changed once it is there, and removing one name leaves the other. A
table that is made anew follows from the rows of silver, by the same parts that fold batches. All of it is made in a
directory of its own, and becomes the lake by one rename: killed before, there is no lake, and it is made from the
beginning. Reads the base's lake; writes a new one, on the same file system.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
from deltalake import DeltaTable, write_deltalake

from infra.failpoints import Failpoints
from infra.generations import Generation
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import GenerationError
from schemas.table import Table
from schemas.tables import TABLES, silver
from streams.lake.batch import columns_to_know, stored
from streams.lake.change import Change
from streams.lake.code import definition, digest
from streams.lake.commit import once
from streams.lake.frames import frame_schema
from streams.lake.halfway import AGAIN, Unfinished, whole, written
from streams.lake.known import Known
from streams.lake.manifest import Manifest, newest_manifest
from streams.lake.numbers import ByNumber
from streams.lake.parts import FACT_COLUMNS, PARTS, Kept, Rows
from streams.lake.place import DRAFT, MANIFESTS, lake_root
from streams.lake.store import LakeStore
from streams.lake.table import create, manifest_rows, schema_of

AT_ONCE = 200_000  # rows of silver
MOST_CHUNKS = 1_000_000
LOG = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"

log = logging.getLogger(__name__)


def begin_as_clone(
    settings: Settings,
    generation: Generation,
    failpoints: Failpoints,
    before_it_is_there: Callable[[], object] = lambda: None,
    tell: Callable[[], object] = lambda: None,
) -> None:
    """Make the lake of a generation that is to begin as another one's, unless it is there.

    `before_it_is_there` is called right before; `tell` every now and then. Raises GenerationError if there is nothing
    to begin with, Unfinished if it failed half-way.
    """
    root = lake_root(settings, generation.name)
    if generation.clone is None or newest_manifest(root) is not None:
        return
    draft = Path(root + DRAFT)
    shutil.rmtree(draft, ignore_errors=True)
    with whole("the clone of a lake"), written("the clone of a lake", root):
        draft.mkdir(parents=True)
        _Clone(settings, generation, failpoints, draft, tell).make()
        failpoints.hit("lake.before_clone_is_there")
        before_it_is_there()
        draft.rename(root)
        failpoints.hit("lake.after_clone_is_there")


class _Clone:
    """One lake in the making, in the directory `draft`."""

    def __init__(
        self,
        settings: Settings,
        generation: Generation,
        failpoints: Failpoints,
        draft: Path,
        tell: Callable[[], object],
    ) -> None:
        self._settings, self._generation, self._failpoints = settings, generation, failpoints
        self._draft, self._tell = draft, tell
        self._base = lake_root(settings, f"g{generation.clone.number}")
        self._manifest = cloneable(settings, generation, newest_manifest(self._base))

    def make(self) -> None:
        anew = {name for name in TABLES if name in self._generation.clone.tables}
        anew |= TABLES.keys() - self._manifest.tables.keys()
        tables = {}
        for name in TABLES.keys() - anew:
            self._failpoints.hit("lake.before_link")
            tables[name] = link(Path(self._base, name), self._draft / name, self._manifest.tables[name])
            self._failpoints.hit("lake.after_link")
            self._tell()
        store = LakeStore(self._base, self._failpoints)
        try:
            tables |= self._made_anew(Known(store, self._manifest), anew)
        finally:
            store.close()
        self._seal(tables, anew)

    def _made_anew(self, known: Known, names: set[str]) -> dict[str, int]:
        """Write these tables; returns the version of each."""
        tables = {name: create(str(self._draft), name) for name in names}
        for kept in PARTS:
            wanted = names & kept.tables.keys()
            if not wanted:
                continue
            self._failpoints.hit("lake.before_made_anew")
            tz, newest = self._settings.shop_timezone, self._manifest.number
            for name, rows in made_anew(kept, wanted, known, tz, newest):
                write_deltalake(
                    tables[name],
                    rows.to_arrow().cast(schema_of(name)),
                    mode="append",
                    commit_properties=once({"cloned_at": str(newest)}),
                )
                self._tell()
            self._failpoints.hit("lake.after_made_anew")
        return {name: table.version() for name, table in tables.items()}

    def _seal(self, tables: dict[str, int], anew: Iterable[str]) -> None:
        """The manifest; and of the base's those that say which schemas were known when."""
        base = self._manifest
        sealed = replace(
            base,
            generation=self._generation.name,
            begins=base.number,
            tables=tables,
            code=digest(),
            definition=definition(self._settings),
            folded={name: rows for name, rows in base.folded.items() if name not in anew},
        )
        for name, version in tables.items():
            if DeltaTable(str(self._draft / name)).version() != version:
                raise Unfinished(f"expected table {name} at version {version} in {self._draft}: {AGAIN}")
        table = create(str(self._draft), MANIFESTS)
        index = ByNumber(DeltaTable(f"{self._base}/{MANIFESTS}"), self._base)
        eras = map(index.read, index.last_of_schemas(0, base.number))
        inherited = [replace(each, generation=sealed.generation, tables={}) for each in eras]
        if inherited:
            write_deltalake(table, manifest_rows(inherited), mode="append", commit_properties=once({}))
        note = once({"manifest": sealed.to_json()})
        write_deltalake(table, manifest_rows([sealed]), mode="append", commit_properties=note)


def cloneable(settings: Settings, generation: Generation, manifest: Manifest | None) -> Manifest:
    """The base's manifest. Raises GenerationError if a lake of `generation` cannot begin as that."""
    base = f"g{generation.clone.number}"
    way_out = "`dataflow replay run` without --table and --metric fills a lake from the topics"
    if manifest is None or not manifest.number:
        raise GenerationError(f"expected a lake of {base} to begin with, and it has none: {way_out}")
    topics = {topic: identity.topic_id for topic, identity in generation.topics.items()}
    if manifest.topics != topics:
        raise GenerationError(
            f"expected the lake of {base} to be of the topics that there are now, and they are others: {way_out}"
        )
    now = definition(settings)
    differing = sorted(
        name
        for name in now.keys() | manifest.definition.keys()
        if now.get(name) != manifest.definition.get(name)
    )
    if differing:
        raise GenerationError(
            f"expected the records in the lake of {base} to be judged as now, and {', '.join(differing)} are others: "
            f"{way_out}"
        )
    return manifest


def link(source: Path, target: Path, version: int) -> int:
    """A table as it is at `version`, under another name, without a copy of its files; returns the version."""
    (target / LOG).mkdir(parents=True)
    for file in (source / LOG).iterdir():
        number, _, kind = file.name.partition(".")
        # Commits that somebody joined may go beyond the version; each of them is there by itself, too.
        if number.isdigit() and int(number) <= version and "compacted" not in kind:
            _link(file, target / LOG / file.name)
    last = source / LOG / LAST_CHECKPOINT
    if last.exists() and json.loads(text := last.read_text("utf-8"))["version"] <= version:
        (target / LOG / LAST_CHECKPOINT).write_text(text, "utf-8")
    files = DeltaTable(str(source), version=version).get_add_actions(flatten=True)
    for file in files["path"].to_pylist():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        _link(source / file, target / file)
    return version


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links, or with too many of this file
        shutil.copy2(source, target)


def made_anew(
    kept: Kept, wanted: Collection[str], known: Rows, tz: str, newest: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of tables that one part keeps, as they are stored, from nothing; those that come later stand.

    They count as of batches below `newest`, so that those of any later batch take their place.
    """
    part = kept.begin(tz, Nothing())
    topics = dict.fromkeys(topic for name in sorted(wanted) for topic in kept.tables[name])
    for number, (topic, change) in enumerate(_chunks(kept, topics, known), newest - MOST_CHUNKS):
        for name, rows in part.fold({topic: change}).items():
            if name in wanted and rows.height:
                yield name, stored(name, number, rows)
        part.take_in()


def _chunks(kept: Kept, topics: Iterable[str], known: Rows) -> Iterator[tuple[str, Change]]:
    """What there is of each topic, as if it had come just now; one topic after the other, for they may be large."""
    for topic in topics:
        contract = CONTRACTS[topic]
        if kept.past is not None:
            rows = known.rows(kept.past).sort("version")  # what comes behind all that there are costs least
        elif contract.is_change:
            rows = known.live(topic)
        else:
            rows = known.rows(silver(contract), FACT_COLUMNS.get(topic, ()))
        for at in range(0, rows.height, AT_ONCE):
            some, none = rows.slice(at, AT_ONCE), rows.clear()
            yield topic, Change(none, none, some) if kept.past else Change(none, some, none)


class Nothing:
    """Before everything."""

    def rows(self, table: Table, columns: Iterable[str] = ()) -> pl.DataFrame:
        types = frame_schema(table)
        return pl.DataFrame(schema={name: types[name] for name in columns or types})

    def live(self, topic: str) -> pl.DataFrame:
        types = frame_schema(silver(CONTRACTS[topic]))
        return pl.DataFrame(
            schema={name: types[name] for name in columns_to_know(CONTRACTS[topic]) if name in types}
        )

"""How large each table is at a manifest, and when it was last written; of a view, how many rows it has.

What no batch has touched meanwhile is not read again.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import orjson

from schemas.table import Table
from schemas.tables import RELATIONS, TABLES
from schemas.view import Relation, View
from schemas.views import VIEWS
from serving.lake.reader import Gone, Lake
from serving.lake.trouble import trouble
from serving.lake.views import quoted
from serving.read.reader import iso_micros
from streams.lake.manifest import RECENT_COMMITS, Manifest

MILLI = 1_000  # µs; the log has its times in ms
PAUSES = 30  # to count one takes at most one part in so many of the time: the page asks at every batch
NOT_COUNTED: dict[str, int | None] = {"rows": None, "rows_at": None}


@dataclass(frozen=True)
class Facts:
    """Of one table: its Delta version, rows (None: not counted), what its files hold and take, and the last commit.

    `rows_at`: the manifest at which the rows were counted, which for a large table may be an older one.
    A view has rows, and was written when one of its tables was; it has no version and no files of its own.
    """

    version: int | None
    rows: int | None
    rows_at: int | None
    stored_rows: int | None  # of a keyed table the files hold older rows of a key too
    files: int | None
    bytes: int | None
    written_at: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Versions = tuple[int, ...]
MayGoOn = Callable[[], bool]
Limited = Callable[[duckdb.DuckDBPyConnection], duckdb.DuckDBPyConnection]


@dataclass(frozen=True)
class _Count:
    """The rows of a table or view at a manifest, None if they could not be counted; when (s, a clock that only goes on)
    that was tried, and for how long."""

    versions: Versions
    manifest: int
    rows: int | None
    at: float
    seconds: float

    def told(self, at: int) -> dict[str, int | None]:
        """As counted at a manifest."""
        return {"rows": self.rows, "rows_at": None if self.rows is None else at}


class FactBook:
    """Facts of the tables and views of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[str, tuple[Versions, Facts]] = {}
        self._counts: dict[str, _Count] = {}
        self._lock = threading.Lock()

    def read(
        self, manifest: Manifest, may_go_on: MayGoOn, limited: Limited, *, exact: bool = False
    ) -> dict[str, Facts | None]:
        """The facts of every table and view; None of one that is gone.

        What takes long to count is not counted at each manifest, unless that is asked for (`exact`): the count of an
        older one stands then. Once `may_go_on` says no, no rows are counted any more. `limited` is called with each
        connection before it counts.
        """
        found: dict[str, Facts | None] = {}
        for table in TABLES.values():
            with suppress(Gone):
                found[table.name] = self._of_table(manifest, table)
        # Small ones first: what takes all the time there is takes it from nobody.
        for name in sorted(found, key=lambda name: found[name].stored_rows):
            if found[name].rows is None:
                try:
                    counted = self._rows(manifest, TABLES[name], may_go_on, limited, exact)
                except Gone:
                    del found[name]
                else:
                    found[name] = replace(found[name], **counted)
        for view in VIEWS.values():
            tables = [found.get(name) for name in view.reads]
            if None in tables:
                continue
            with suppress(Gone):
                of = found[view.rows_of] if view.rows_of else None
                counted = (
                    {"rows": of.rows, "rows_at": of.rows_at}
                    if of
                    else self._rows(manifest, view, may_go_on, limited, exact)
                )
                times = [facts.written_at for facts in tables if facts.written_at]
                found[view.name] = Facts(None, **counted, stored_rows=None, files=None, bytes=None,
                                         written_at=max(times, default=None))  # fmt: skip
        return {name: found.get(name) for name in RELATIONS}

    def _of_table(self, manifest: Manifest, table: Table) -> Facts:
        """Without rows if they have to be counted. Raises Gone."""
        versions = _versions(manifest, table)
        with self._lock:
            known, facts = self._known.get(table.name, (None, None))
        if known != versions:
            delta = self._lake.files(manifest, table)
            files = delta.get_add_actions(flatten=True)
            records, sizes, times = (
                files[name].to_pylist() for name in ("num_records", "size_bytes", "modification_time")
            )
            stored = sum(records)
            rows = stored if not table.is_keyed or not stored else None
            at = _written(Path(self._lake.root, table.name), delta.version()) or max(times, default=None)
            written = iso_micros(at * MILLI) if at else None
            facts = Facts(delta.version(), rows, None, stored, len(sizes), sum(sizes), written)
            with self._lock:
                self._known[table.name] = versions, facts
        return facts if facts.rows is None else replace(facts, rows_at=manifest.number)

    def _rows(
        self, manifest: Manifest, relation: Relation, may_go_on: MayGoOn, limited: Limited, exact: bool
    ) -> dict[str, int | None]:
        """How many, and at which manifest; both None if they could not be counted."""
        versions = _versions(manifest, relation)
        with self._lock:
            known = self._counts.get(relation.name)
        if known is not None and known.versions == versions and known.rows is not None:
            return known.told(manifest.number)
        is_older = known is not None and known.manifest <= manifest.number
        old = known.told(known.manifest) if is_older and not exact else NOT_COUNTED
        if not may_go_on():
            return old
        began = time.monotonic()
        if known is not None and not exact and began - known.at < PAUSES * known.seconds:
            return old
        rows = self._count(manifest, relation, limited)
        now = time.monotonic()
        if rows is None:  # it may be next time, but not at once
            kept = known or _Count(versions, manifest.number, None, now, 0.0)
            found = replace(kept, at=now, seconds=now - began)
        else:
            found = _Count(versions, manifest.number, rows, now, now - began)
        with self._lock:
            last = self._counts.get(relation.name)
            if last is None or last.manifest <= manifest.number or rows is None:
                self._counts[relation.name] = found
        return old if rows is None else found.told(manifest.number)

    def _count(self, manifest: Manifest, table: Relation, limited: Callable) -> int | None:
        try:
            with self._lake.open(manifest, table) as connection:
                statement = f"SELECT count(*) FROM {quoted(table.name)}"
                return limited(connection).execute(statement).fetchone()[0]
        except duckdb.InterruptException:
            return None
        except duckdb.Error as error:
            if trouble(error) is None:
                raise
            return None


def _versions(manifest: Manifest, relation: Relation) -> Versions:
    names = relation.reads if isinstance(relation, View) else (relation.name,)
    return tuple(manifest.tables.get(name, 0) for name in names)


def _written(table: Path, version: int) -> int | None:
    """When (ms) the newest batch up to a version was written: upkeep puts the same rows into other files.

    What was taken back counts for nothing. None if none of the commits that are looked at is a batch's. The log is read
    as it lies there: the library's own history goes to its end, whatever the version.
    """
    for _ in range(RECENT_COMMITS):
        try:
            lines = (table / "_delta_log" / f"{version:020}.json").read_bytes().splitlines()
        except FileNotFoundError:
            return None  # it is in a checkpoint
        told = next((line["commitInfo"] for line in map(orjson.loads, lines) if "commitInfo" in line), {})
        if "batch" in told:
            return told["timestamp"]
        version = int(told.get("taken_back_to", version - 1))
    return None

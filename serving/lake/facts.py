"""How large each table is at a manifest, and when it was last written; of a view, how many rows it has.

What no batch has touched meanwhile is not read again.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson

from schemas.table import Table
from schemas.tables import RELATIONS
from schemas.view import Relation, View
from serving.lake.reader import Gone, Lake
from serving.lake.trouble import trouble
from serving.lake.views import quoted
from serving.read.reader import iso_micros
from streams.lake.manifest import RECENT_COMMITS, Manifest

MILLI = 1_000  # µs; the log has its times in ms


@dataclass(frozen=True)
class Facts:
    """Of one table: its Delta version, rows (None: not counted), what its files hold and take, and the last commit.

    A view has rows, and was written when one of its tables was; it has no version and no files of its own.
    """

    version: int | None
    rows: int | None
    stored_rows: int | None  # of a keyed table the files hold older rows of a key too
    files: int | None
    bytes: int | None
    written_at: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Versions = tuple[int, ...]


class FactBook:
    """Facts of the tables and views of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[str, tuple[Versions, Facts]] = {}
        self._lock = threading.Lock()

    def read(
        self,
        manifest: Manifest,
        may_go_on: Callable[[], bool],
        limited: Callable[[duckdb.DuckDBPyConnection], duckdb.DuckDBPyConnection],
    ) -> dict[str, Facts | None]:
        """The facts of every table and view; None of one that is gone.

        Once `may_go_on` says no, rows are no longer counted. `limited` is called with each connection before it counts.
        """
        found: dict[str, Facts | None] = {}
        for each in RELATIONS.values():
            reads = each.reads if isinstance(each, View) else (each.name,)
            versions = tuple(manifest.tables.get(name, 0) for name in reads)
            with self._lock:
                known, facts = self._known.get(each.name, (None, None))
            if facts is None or facts.rows is None or known != versions:
                try:
                    facts = (
                        self._of_view(manifest, each, found, may_go_on, limited)
                        if isinstance(each, View)
                        else self._of_table(manifest, each, may_go_on, limited)
                    )
                except Gone:
                    facts = None
                else:
                    with self._lock:
                        self._known[each.name] = versions, facts
            found[each.name] = facts
        return found

    def _of_view(
        self,
        manifest: Manifest,
        view: View,
        found: dict[str, Facts | None],
        may_go_on: Callable[[], bool],
        limited: Callable,
    ) -> Facts:
        """`found` has the facts of the tables."""
        tables = [found[name] for name in view.reads]
        if None in tables:
            raise Gone(f"a table that {view.name} reads is no longer kept")
        if view.rows_of:
            rows = found[view.rows_of].rows
        else:
            rows = self._count(manifest, view, limited) if may_go_on() else None
        times = [facts.written_at for facts in tables if facts.written_at]
        return Facts(None, rows, None, None, None, max(times, default=None))

    def _of_table(
        self, manifest: Manifest, table: Table, may_go_on: Callable[[], bool], limited: Callable
    ) -> Facts:
        delta = self._lake.files(manifest, table)
        files = delta.get_add_actions(flatten=True)
        records, sizes, times = (
            files[name].to_pylist() for name in ("num_records", "size_bytes", "modification_time")
        )
        stored: int | None = sum(records)
        if not table.is_keyed or not stored:
            rows: int | None = stored
        else:
            rows = self._count(manifest, table, limited) if may_go_on() else None
        at = _written(Path(self._lake.root, table.name), delta.version()) or max(times, default=None)
        written = iso_micros(at * MILLI) if at else None
        return Facts(delta.version(), rows, stored, len(sizes), sum(sizes), written)

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

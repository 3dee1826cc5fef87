"""How large each table is at a manifest, and when it was last written.

A table that no batch has touched meanwhile is not read again.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from schemas.table import Table
from schemas.tables import TABLES
from serving.lake.reader import Gone, Lake
from serving.lake.views import quoted
from serving.read.reader import iso_micros
from streams.lake.manifest import Manifest

MILLI = 1_000  # µs; the log has its times in ms


@dataclass(frozen=True)
class Facts:
    """Of one table: its Delta version, rows (None: not counted), what its files hold and take, and the last commit."""

    version: int
    rows: int | None
    stored_rows: int  # of a keyed table the files hold older rows of a key too
    files: int
    bytes: int
    written_at: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class FactBook:
    """Facts of the tables of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[str, Facts] = {}
        self._lock = threading.Lock()

    def read(
        self,
        manifest: Manifest,
        may_go_on: Callable[[], bool],
        limited: Callable[[duckdb.DuckDBPyConnection], duckdb.DuckDBPyConnection],
    ) -> dict[str, Facts | None]:
        """The facts of every table; None of one that is gone. Once `may_go_on` says no, rows are no longer counted.

        `limited` is called with each connection before it counts.
        """
        found: dict[str, Facts | None] = {}
        for table in TABLES.values():
            with self._lock:
                known = self._known.get(table.name)
            if known is None or known.rows is None or known.version != manifest.tables.get(table.name, 0):
                try:
                    known = self._read(manifest, table, may_go_on, limited)
                except Gone:
                    found[table.name] = None
                    continue
                with self._lock:
                    self._known[table.name] = known
            found[table.name] = known
        return found

    def _read(
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
        written = iso_micros(max(times) * MILLI) if times else None
        return Facts(delta.version(), rows, stored, len(sizes), sum(sizes), written)

    def _count(self, manifest: Manifest, table: Table, limited: Callable) -> int | None:
        try:
            with self._lake.open(manifest, table) as connection:
                statement = f"SELECT count(*) FROM {quoted(table.name)}"
                return limited(connection).execute(statement).fetchone()[0]
        except (duckdb.InterruptException, duckdb.OutOfMemoryException):
            return None

"""The manifests of a lake, as readers choose among them: the newest, one by its number, the last before a time.

Reads the Delta table `_manifests`; which one of a number stands, see `streams.lake.numbers`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.errors import DataflowError, Terminal, Unavailable
from schemas.table import Table
from schemas.view import Relation, View
from serving.lake.trouble import Trouble, trouble
from serving.lake.views import connect
from streams.lake.manifest import Manifest
from streams.lake.numbers import ByNumber, NoSuchManifest
from streams.lake.place import MANIFESTS

LATEST = 16  # commits that are looked at for the newest manifest before all are


class NoLake(Unavailable):
    """There is no lake yet, or none whose first batch is finished."""


class Gone(DataflowError, Terminal):
    """The lake was as asked for once, and the files of that version are removed."""


class Lake:
    """The lake of one generation under `root`, a directory."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def newest(self) -> Manifest:
        """What the lake holds now. Raises NoLake."""
        log = self._log()
        for limit in (LATEST, None):
            if found := _manifests(log, limit):
                return found[0]
        raise no_lake()

    def at(self, number: int) -> Manifest:
        """The lake after batch `number`. Raises NoLake, NoSuchManifest, Gone."""
        log = self._log()
        if 0 < number < (begins := _begins(log)):
            raise _not_here(f"manifest {number}", begins)
        return ByNumber(log, self.root).read(number)

    def before(self, time: int) -> Manifest:
        """The last manifest without a record that the broker took after `time` (µs).

        Raises NoLake, NoSuchManifest, Gone.
        """
        log = self._log()
        begins, index = _begins(log), ByNumber(log, self.root)
        numbers = [number for number in index.numbers() if number >= begins]
        # The newest broker time grows with the number, so this reads a handful of manifests and not all.
        found = bisect_right(numbers, time, key=lambda number: index.read(number).kafka_time)
        if not found and begins:
            raise _not_here("that time", begins)
        if not found:
            raise NoSuchManifest(
                f"expected a time at or after that of the first manifest that is kept, {index.range()}; before it the "
                "lake was empty, or nothing is known of it"
            )
        return index.read(numbers[found - 1])

    def recent(self, limit: int) -> list[Manifest]:
        """The last `limit` manifests, newest first. Raises NoLake."""
        log = self._log()
        # One that was said anew takes two commits.
        for commits in (2 * limit, None):
            found = _manifests(log, commits)
            if len(found) >= limit:
                break
        if not found:
            raise no_lake()
        return found[:limit]

    def eras(self, after: int, last: Manifest) -> list[Manifest]:
        """The manifests beyond number `after` that were the last before other schemas were known, and `last`."""
        numbers = ByNumber(self._log(), self.root)
        return [*map(numbers.read, numbers.last_of_schemas(after, last.number)), last]

    @contextmanager
    def open(
        self, manifest: Manifest, table: Relation, config: Mapping[str, Any] | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with one table or view as the manifest has it; `config` as of `serving.lake.views.connect`.

        Raises Gone, also for what is read in it.
        """
        try:
            reads = table.reads if isinstance(table, View) else (table.name,)
            with connect(self.root, _named(manifest, reads), [table], config) as connection:
                yield connection
        except DeltaError as error:
            raise gone(manifest, table) from error
        except duckdb.Error as error:
            if trouble(error) is not Trouble.GONE:
                raise
            raise gone(manifest, table) from error

    def files(self, manifest: Manifest, table: Table) -> DeltaTable:
        """A table as the manifest has it, for what its log says of its files. Raises Gone."""
        try:
            version = _named(manifest, (table.name,)).tables[table.name]
            return DeltaTable(f"{self.root}/{table.name}", version=version)
        except DeltaError as error:
            raise gone(manifest, table) from error

    def _log(self) -> DeltaTable:
        try:
            return DeltaTable(f"{self.root}/{MANIFESTS}")
        except TableNotFoundError:
            raise no_lake() from None


def no_lake() -> NoLake:
    # Without the place: this is told to whoever asks over REST.
    return NoLake(
        "expected a lake and found none with a finished batch where LAKE_URI says: `dataflow up` fills it, and the "
        "first batch is done a minute or two after the first start; `dataflow status` tells how the process `lake` "
        "fares"
    )


def gone(manifest: Manifest, table: Relation) -> Gone:
    what = "view" if isinstance(table, View) else "table"
    return Gone(
        f"{what} {table.name} is no longer kept as it was at manifest {manifest.number}: files or logs that it is read "
        "from were cleaned up. Ask for a newer manifest, or for the newest by naming none"
    )


def _not_here(what: str, begins: int) -> Gone:
    return Gone(
        f"{what} is before this lake, which began as a clone of another generation's, at manifest {begins}: ask for "
        "that or a newer one, or for the newest by naming none"
    )


def _named(manifest: Manifest, tables: Iterable[str]) -> Manifest:
    """The same manifest; one that is older than a table knows nothing of it, which then was empty: its version 0."""
    return replace(manifest, tables={**dict.fromkeys(tables, 0), **manifest.tables})


def _begins(log: DeltaTable) -> int:
    """The number of the manifest that a clone begins with; 0 for a lake that is none."""
    found = _manifests(log, LATEST) or _manifests(log, None)
    return found[0].begins if found else 0


def _manifests(log: DeltaTable, limit: int | None) -> list[Manifest]:
    """Of the newest `limit` commits, newest first, the last one of each number."""
    found: dict[int, Manifest] = {}
    for commit in log.history(limit=limit):
        if "manifest" in commit:
            manifest = Manifest.from_json(commit["manifest"])
            found.setdefault(manifest.number, manifest)
    return list(found.values())

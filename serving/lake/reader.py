"""The manifests of a lake, as readers choose among them: the newest, one by its number, the last before a time.

Reads the Delta table `_manifests`. Where a number occurs more than once (a driver that took tables back says anew where
they are) the last one stands: every version in it is at least that of the one before.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.errors import DataflowError, Terminal, Unavailable
from schemas.table import Table
from schemas.view import Relation, View
from serving.lake.views import connect
from streams.lake.manifest import Manifest
from streams.lake.place import MANIFESTS

LATEST = 16  # commits that are looked at for the newest manifest before all are
MISSING_FILE = "No files found"


class NoLake(Unavailable):
    """There is no lake yet, or none whose first batch is finished."""


class NoSuchManifest(DataflowError, Terminal):
    """The lake has no manifest of this number or time; the message says which there are."""


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
        """The lake after batch `number`. Raises NoLake, NoSuchManifest."""
        return _ByNumber(self._log(), self.root).read(number)

    def before(self, time: int) -> Manifest:
        """The last manifest without a record that the broker took after `time` (µs). Raises NoLake, NoSuchManifest."""
        index = _ByNumber(self._log(), self.root)
        numbers = index.numbers()
        # The newest broker time grows with the number, so this reads a handful of manifests and not all.
        found = bisect_right(numbers, time, key=lambda number: index.read(number).kafka_time)
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
        numbers = _ByNumber(self._log(), self.root)
        return [*map(numbers.read, numbers.last_of_schemas(after, last.number)), last]

    @contextmanager
    def open(self, manifest: Manifest, table: Relation) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with one table or view as the manifest has it. Raises Gone, also for what is read in it."""
        try:
            reads = table.reads if isinstance(table, View) else (table.name,)
            with connect(self.root, _named(manifest, reads), [table]) as connection:
                yield connection
        except DeltaError as error:
            raise gone(manifest, table) from error
        except duckdb.IOException as error:
            if MISSING_FILE not in str(error):
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


class _ByNumber:
    """The files of `_manifests` by the numbers in them, as the log knows them without opening any."""

    def __init__(self, log: DeltaTable, root: str) -> None:
        # Columns of Arrow, which is not imported here for its size.
        files = log.get_add_actions(flatten=True)
        paths, low, high = (files[name].to_pylist() for name in ("path", "min.number", "max.number"))
        self._files = [
            (f"{root}/{MANIFESTS}/{path}", first, last)
            for path, first, last in zip(paths, low, high, strict=True)
        ]

    def numbers(self) -> list[int]:
        """All there are, in order."""
        return sorted({number for _, first, last in self._files for number in range(first, last + 1)})

    def last_of_schemas(self, after: int, before: int) -> list[int]:
        """The numbers between the two whose successor knew other schemas."""
        files = [path for path, first, last in self._files if last > after and first <= before]
        if not files:
            return []
        with duckdb.connect() as connection:
            rows = connection.execute(
                "SELECT number FROM (SELECT DISTINCT number, manifest->>'$.schemas' AS known FROM read_parquet(?)) "
                "WHERE number > ? AND number <= ? QUALIFY known <> lead(known) OVER (ORDER BY number) ORDER BY number",
                [files, after, before],
            ).fetchall()
        return [number for (number,) in rows]

    def range(self) -> str:
        numbers = self.numbers()
        return f"{numbers[0]} to {numbers[-1]}" if numbers else "none"

    def read(self, number: int) -> Manifest:
        files = [path for path, first, last in self._files if first <= number <= last]
        texts = []
        if files:
            with duckdb.connect() as connection:
                rows = connection.execute(
                    "SELECT manifest FROM read_parquet(?) WHERE number = ?", [files, number]
                ).fetchall()
            texts = [text for (text,) in rows]
        if not texts:
            raise NoSuchManifest(f"expected the number of a manifest, {self.range()}; saw {number}")
        return max(map(Manifest.from_json, texts), key=lambda manifest: sum(manifest.tables.values()))


def no_lake() -> NoLake:
    # Without the place: this is told to whoever asks over REST.
    return NoLake(
        "expected a lake and found none with a finished batch where LAKE_URI says: `dataflow up` fills it, which "
        "takes some seconds after the first start; `dataflow status` tells how the process `lake` fares"
    )


def gone(manifest: Manifest, table: Relation) -> Gone:
    what = "view" if isinstance(table, View) else "table"
    return Gone(
        f"{what} {table.name} is no longer kept as it was at manifest {manifest.number}: files or logs that it is read "
        "from were cleaned up. Ask for a newer manifest, or for the newest by naming none"
    )


def _named(manifest: Manifest, tables: Iterable[str]) -> Manifest:
    """The same manifest; one that is older than a table knows nothing of it, which then was empty: its version 0."""
    return replace(manifest, tables={**dict.fromkeys(tables, 0), **manifest.tables})


def _manifests(log: DeltaTable, limit: int | None) -> list[Manifest]:
    """Of the newest `limit` commits, newest first, the last one of each number."""
    found: dict[int, Manifest] = {}
    for commit in log.history(limit=limit):
        if "manifest" in commit:
            manifest = Manifest.from_json(commit["manifest"])
            found.setdefault(manifest.number, manifest)
    return list(found.values())

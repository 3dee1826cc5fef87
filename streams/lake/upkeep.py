"""Upkeep of the Delta tables, between two batches: many small files become few, superseded rows go, old files too.

A keyed table is folded to one row a key when it has twice the rows that it had after the last time, so that what a row
costs does not grow with the table. Everything is a commit like any other, and a manifest names what it leads to:
readers of older manifests keep their files until these are older than KEPT_HOURS, and the log by which an older
manifest's version is found stays for LOG_HOURS (see `streams.lake.table`).
"""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from polars.exceptions import PanicException

from infra.failpoints import Failpoints
from schemas.tables import TABLES
from streams.lake.commit import once
from streams.lake.fold import fold
from streams.lake.halfway import Fenced

EVERY_BATCHES = 20
SMALL_FILES = 50
FOLD_FROM_ROWS = 20_000
KEPT_HOURS = 7 * 24
SWEPT_COMMITS = 500  # to clean up takes a look at every file there is: 100 ms for 10,000
LARGE_FILE = 100 * 2**20  # bytes from which on a file is not put together with others
LOG = "_delta_log"
ROOM_LEFT = 64 * 2**20  # bytes that stay free for whoever else writes to the disk
TRIED_AGAIN = 1.1  # growth of a table after which what failed is tried again
FOLD, COMPACT = "fold", "compact"

log = logging.getLogger(__name__)


class Upkeep:
    """Looks after the tables of one driver. What does not fit into memory goes to files below `scratch`."""

    def __init__(self, failpoints: Failpoints, scratch: Path) -> None:
        self._failpoints, self._scratch = failpoints, scratch
        self._failed: dict[tuple[str, str], int] = {}  # rows of a table when this failed for it
        self._told: set[str] = set()  # tables for which there is no room, which has been told
        self._there: set[Path] | None = None  # a table's files before its upkeep wrote any
        self._sweep_at: dict[str, int] = {}  # version of a table from which on it is cleaned up again

    def due(self, batch: int) -> bool:
        return batch % EVERY_BATCHES == 0

    def run(self, tables: Mapping[str, DeltaTable], folded: Mapping[str, int]) -> dict[str, int] | None:
        """Do what is worth doing. `folded` is how many rows a keyed table had when it was folded last.

        Returns the same as it is now, for a manifest to keep; None if no table has changed. What fails without a trace
        in a table's log is left for later: the tables are right without it. What fails otherwise is raised. Raises
        Fenced if another driver wrote meanwhile.
        """
        # What a process left there that was killed.
        shutil.rmtree(self._scratch, ignore_errors=True)
        now, changed = dict(folded), False
        for name, table in tables.items():
            files = pa.table(table.get_add_actions(flatten=True))
            self._failpoints.hit("lake.before_upkeep")
            act = self._act(name, files, now)
            before, self._there = table.version(), None
            try:
                done = act is not None and self._tidy(name, table, files, now, act)
            except CommitFailedError:
                raise
            # A panic of polars is no Exception.
            except (Exception, PanicException) as error:
                if DeltaTable(table.table_uri).version() != before:
                    raise
                self._failed[name, act] = _rows(files)
                self._remove_leftovers(table)
                log.warning(
                    "upkeep of %s failed and is left for later: %s", name, str(error).partition("\n")[0]
                )
                continue
            _expect_own(table, before)
            self._failpoints.hit("lake.after_upkeep")
            self._failed.pop((name, act), None)
            if done:
                changed = True
                log.info("upkeep of %s: %d rows in %d files before", name, _rows(files), files.num_rows)
        return now if changed else None

    def _act(self, name: str, files: pa.Table, folded: Mapping[str, int]) -> str | None:
        """What is worth doing. What failed waits until the table has grown; the other one is done meanwhile."""
        declared, rows = TABLES.get(name), _rows(files)

        def is_due(act: str) -> bool:
            return rows >= TRIED_AGAIN * self._failed.get((name, act), 0)

        keyed = declared is not None and declared.is_keyed
        if keyed and rows > max(FOLD_FROM_ROWS, 2 * folded.get(name, 0)) and is_due(FOLD):
            return FOLD
        return COMPACT if files.num_rows >= SMALL_FILES and is_due(COMPACT) else None

    def _tidy(self, name: str, table: DeltaTable, files: pa.Table, folded: dict[str, int], act: str) -> bool:
        """Whether anything was done. `files` is what the table's log says of each."""
        sizes = files["size_bytes"].to_pylist()
        # Large files are left as they are where small ones are put together.
        fits = self._has_room(name, table, sum(size for size in sizes if act == FOLD or size < LARGE_FILE))
        sweeps = table.version() >= self._sweep_at.get(name, 0)
        if sweeps:
            # Before anything is committed here: what the manifest names is the newest version, whose log stays.
            table.cleanup_metadata()
        if fits:
            self._there = set(_data_files(table))
            if act == FOLD:
                folded[name] = fold(table, TABLES[name], self._scratch)
            else:
                table.optimize.compact(target_size=LARGE_FILE, commit_properties=once({"upkeep": act}))
        if sweeps:
            self._failpoints.hit("lake.before_vacuum")
            # Full: files that no commit has ever named, too, as a kill between a file and its commit leaves one.
            told = once({"upkeep": "vacuum"})
            table.vacuum(KEPT_HOURS, dry_run=False, full=True, commit_properties=told)
            _remove_unfinished(table)
            self._sweep_at[name] = table.version() + SWEPT_COMMITS
        return fits or sweeps

    def _has_room(self, name: str, table: DeltaTable, size: int) -> bool:
        """Whether the disk takes so many bytes beside what is there, and is usable then."""
        free = shutil.disk_usage(_place(table)).free
        if fits := free >= size + ROOM_LEFT:
            self._told.discard(name)
        elif name not in self._told:
            self._told.add(name)
            log.warning(
                "upkeep of %s is left for later: expected %s MB free, saw %s MB: make room on that disk",
                name, f"{(size + ROOM_LEFT) / 2**20:,.0f}", f"{free / 2**20:,.0f}",
            )  # fmt: skip
        return fits

    def _remove_leftovers(self, table: DeltaTable) -> None:
        """Files that it wrote and no version names: they would lie there for KEPT_HOURS, on a disk that may be full.

        Nobody else writes here between two batches.
        """
        if self._there is None:
            return
        with suppress(OSError):
            for file in set(_data_files(table)) - self._there:
                file.unlink(missing_ok=True)


def _expect_own(table: DeltaTable, before: int) -> None:
    """To compact and to clean up goes on over what somebody else commits meanwhile, however often it may be tried."""
    new = table.version() - before
    if new and any("upkeep" not in commit for commit in table.history(new)):
        raise Fenced(
            f"expected nobody else's commits in {table.table_uri} during upkeep, and there are some: one driver a lake"
        )


def _rows(files: pa.Table) -> int:
    return sum(files["num_records"].to_pylist())


def _place(table: DeltaTable) -> Path:
    """The directory of a table, which is a local or a mounted one."""
    return Path(url2pathname(urlsplit(table.table_uri).path))


def _remove_unfinished(table: DeltaTable) -> None:
    """What was being written when a process was killed: no listing of the library tells of it."""
    oldest = time.time() - KEPT_HOURS * 3_600
    for file in _place(table).rglob("*.parquet#*"):
        with suppress(OSError):
            if file.stat().st_mtime < oldest:
                file.unlink()


def _data_files(table: DeltaTable) -> Iterator[Path]:
    place = _place(table)
    return (each for each in place.rglob("*.parquet*") if each.relative_to(place).parts[0] != LOG)

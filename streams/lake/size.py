"""How many records a batch takes: half as many after one that could not be read, and slowly more again afterwards.

Batches are cut by records, and what it takes to read one follows their bytes. So a range of large records may fail, and
read again as it is it would fail for ever. Keeps the number in a file, since the JVM may end of such a range, and this
process with it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polars.exceptions import PanicException

from schemas.errors import DataflowError

FEWEST = 1_000  # records: what fails with no more does not fail for their number
GROWS_AFTER = 20  # batches that could be read

log = logging.getLogger(__name__)


class Size:
    """That of one lake's batches: `whole` records, or fewer. `file` is where it is kept while it is fewer."""

    def __init__(self, file: Path, whole: int) -> None:
        self._file, self._whole, self._fewest = file, whole, min(FEWEST, whole)
        self._read, self._failing = 0, False
        self.now = whole
        with suppress(OSError, ValueError):
            self.now = min(whole, max(self._fewest, int(file.read_text("ascii"))))

    @contextmanager
    def tried(self, records: int, given_up: Callable[[], bool]) -> Iterator[None]:
        """In the block so many records are read; it may fail since `given_up` says so, which counts for nothing."""
        try:
            yield
        except DataflowError:
            raise
        # A panic of polars is no Exception.
        except (Exception, PanicException):
            if not given_up():
                self._failed(records)
            raise
        self._succeeded()

    def _failed(self, records: int) -> None:
        if records <= self._fewest:
            return
        # A first failure may have any reason, such as a broker that has gone, and tells nothing about a small batch.
        fewer = max(self._fewest, (min(self.now, records) if self._failing else self.now) // 2)
        self._read, self._failing = 0, True
        log.warning(
            "a batch of %d records could not be read: the next ones take %d at most, and slowly more again. If it was "
            "for want of memory, set LAKE_BATCH_RECORDS lower, which is %d",
            *(records, fewer, self._whole),
        )
        self._keep(fewer)

    def _succeeded(self) -> None:
        self._read, self._failing = self._read + 1, False
        if self.now < self._whole and self._read >= GROWS_AFTER:
            self._read = 0
            self._keep(min(self._whole, 2 * self.now))
            log.info("batches take %d records at most again", self.now)

    def _keep(self, records: int) -> None:
        self.now = records
        # Where there is no room for it, it holds as long as this process.
        with suppress(OSError):
            if records == self._whole:
                self._file.unlink(missing_ok=True)
            else:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_text(str(records), "ascii")

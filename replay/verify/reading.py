"""A topic's records out of bronze in the order in which they are taken, some thousand at a time.

Between partitions, of which some may have been added, that is the order of the broker's time: a record's is the newest
that its partition has come to with it. DuckDB would have to hold a whole topic, values too, to put it in that order.
Within a partition it is that of the offsets, though, so partitions are read a piece at a time, and merged.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter

import duckdb

from schemas.errors import Unavailable
from schemas.table import Table
from serving.lake.views import quoted

# Offsets that are read at once, of all partitions together, and bytes of the records there.
READ_ROWS, READ_BYTES = 10_000, 64_000_000
FETCH = 100  # rows

Record = tuple[int, int, int, bytes | None, bytes | None]  # partition, offset, broker's time (µs), key, value
Ranges = Mapping[int, tuple[int, int]]  # by partition: from, to before


def check_not(given_up: Callable[[], bool]) -> None:
    """Raise Unavailable if it is."""
    if given_up():
        raise Unavailable("a stop was asked for before everything was compared")


class _Partition:
    """What is read of a partition and not taken yet; from `at` to before `end` nothing is read."""

    def __init__(self, number: int, at: int, end: int) -> None:
        self.number, self.at, self.end = number, at, end
        self.rows: deque[Record] = deque()
        self._newest = 0  # broker's time, µs

    @property
    def has_more(self) -> bool:
        return self.at < self.end

    @property
    def place(self) -> tuple[int, int]:
        """Where its next record stands in the order."""
        return max(self._newest, self.rows[0][2]), self.number

    def take(self) -> Record:
        record = self.rows.popleft()
        self._newest = max(self._newest, record[2])
        return record


def in_order(
    lake: duckdb.DuckDBPyConnection,
    table: Table,
    ranges: Ranges,
    at_once: int = READ_ROWS,
    at_most: int = READ_BYTES,
) -> Iterator[list[Record]]:
    """The records of these ranges out of the bronze view of `table`: about `at_once` at a time, or `at_most` bytes."""
    partitions = {p: _Partition(p, low, end) for p, (low, end) in ranges.items() if low < end}
    reading = _Reading(lake, table, max(1, at_once // max(1, len(partitions))), at_most)
    waiting: list[tuple[int, int]] = []
    chunk: list[Record] = []
    size = 0
    while True:
        empty = [each for each in partitions.values() if not each.rows]
        reading.fill(list(partitions.values()))
        for each in empty:
            if each.rows:
                heapq.heappush(waiting, each.place)
        if not waiting:
            break
        while waiting:
            each = partitions[heapq.heappop(waiting)[1]]
            chunk.append(each.take())
            size += _size(chunk[-1])
            if each.rows:
                heapq.heappush(waiting, each.place)
            elif each.has_more:
                # Its next record may come before those of the others.
                break
        if len(chunk) >= at_once or size >= at_most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class _Reading:
    """Reads on in several partitions: of each `share` offsets, fewer where these have more than `at_most` bytes."""

    def __init__(self, lake: duckdb.DuckDBPyConnection, table: Table, share: int, at_most: int) -> None:
        self._lake, self._from = lake, quoted(table.name)
        self._share, self._most, self._at_most = share, share, at_most

    def fill(self, partitions: list[_Partition]) -> None:
        """Those that have little left, until each has a record or its end is reached."""
        little = [each for each in partitions if 2 * len(each.rows) <= self._share]
        while little := [each for each in little if each.has_more]:
            spans = {each.number: (each.at, min(each.at + self._share, each.end)) for each in little}
            if (rows := self._rows(spans)) is None:
                self._share = max(1, self._share // 2)
                continue
            by_number = {each.number: each for each in little}
            for row in sorted(rows, key=itemgetter(0, 1)):
                by_number[row[0]].rows.append(row)
            for each in little:
                each.at = spans[each.number][1]
            if 2 * sum(map(_size, rows)) <= self._at_most:
                self._share = min(2 * self._share, self._most)
            little = [each for each in little if not each.rows]
            self._skip([each for each in little if each.has_more])

    def _rows(self, spans: Ranges) -> list[Record] | None:
        """The records there, in no order; None if they are too many to hold."""
        result = self._lake.execute(
            f'SELECT partition, "offset", epoch_us(kafka_time), key, value FROM {self._from} WHERE {_within(spans)}'
        )
        rows, size = [], 0
        while some := result.fetchmany(FETCH):
            rows += some
            size += sum(map(_size, some))
            if size > self._at_most and self._share > 1:
                return None
        return rows

    def _skip(self, partitions: list[_Partition]) -> None:
        """Go on at the next record of each: what is before the first, or missing, may be long."""
        if not (spans := {each.number: (each.at, each.end) for each in partitions}):
            return
        found = dict(
            self._lake.execute(
                f'SELECT partition, min("offset") FROM {self._from} WHERE {_within(spans)} GROUP BY partition'
            ).fetchall()
        )
        for each in partitions:
            each.at = found.get(each.number, each.end)


def _size(record: Record) -> int:
    *_, key, value = record
    return len(key or b"") + len(value or b"")


def _within(spans: Ranges) -> str:
    """The first part is what the files' statistics can be asked."""
    low, high = min(low for low, _ in spans.values()), max(end for _, end in spans.values())
    of = (f'(partition = {p} AND "offset" >= {at} AND "offset" < {end})' for p, (at, end) in spans.items())
    return f'"offset" >= {low} AND "offset" < {high} AND ({" OR ".join(of)})'

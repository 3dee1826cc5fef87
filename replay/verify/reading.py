"""A topic's records out of bronze in the order in which they are taken, some thousand at a time.

Between partitions, of which some may have been added, that is the order of the broker's time: a record's is the newest
that its partition has come to with it. DuckDB would have to hold a whole topic, values too, to put it in that order.
Within a partition it is that of the offsets, though, so partitions are read a piece at a time, and merged.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from operator import itemgetter

import duckdb

from schemas.table import Table
from serving.lake.views import quoted

READ_ROWS = 4_000  # offsets that are read at once, of all partitions together

Record = tuple[int, int, int, bytes | None, bytes | None]  # partition, offset, broker's time (µs), key, value
Ranges = Mapping[int, tuple[int, int]]  # by partition: from, to before


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
    lake: duckdb.DuckDBPyConnection, table: Table, ranges: Ranges, at_once: int = READ_ROWS
) -> Iterator[list[Record]]:
    """The records of these ranges out of the bronze view of `table`, about `at_once` at a time."""
    partitions = {p: _Partition(p, low, end) for p, (low, end) in ranges.items() if low < end}
    share = max(1, at_once // max(1, len(partitions)))
    waiting: list[tuple[int, int]] = []
    chunk: list[Record] = []
    while True:
        empty = [each for each in partitions.values() if not each.rows]
        _read(lake, table, [each for each in partitions.values() if 2 * len(each.rows) <= share], share)
        for each in empty:
            if each.rows:
                heapq.heappush(waiting, each.place)
        if not waiting:
            break
        while waiting:
            each = partitions[heapq.heappop(waiting)[1]]
            chunk.append(each.take())
            if each.rows:
                heapq.heappush(waiting, each.place)
            elif each.has_more:
                # Its next record may come before those of the others.
                break
        if len(chunk) >= at_once:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _read(lake: duckdb.DuckDBPyConnection, table: Table, partitions: list[_Partition], share: int) -> None:
    """The next `share` offsets of each, or more of those in which there is nothing, until each has a record."""
    while partitions := [each for each in partitions if each.has_more]:
        spans = {each.number: (each.at, min(each.at + share, each.end)) for each in partitions}
        rows = lake.execute(
            f'SELECT partition, "offset", epoch_us(kafka_time), key, value FROM {quoted(table.name)} '
            f"WHERE {_within(spans)}"
        ).fetchall()
        by_number = {each.number: each for each in partitions}
        for row in sorted(rows, key=itemgetter(0, 1)):
            by_number[row[0]].rows.append(row)
        for each in partitions:
            each.at = spans[each.number][1]
        partitions = [each for each in partitions if not each.rows]
        _skip(lake, table, partitions)


def _skip(lake: duckdb.DuckDBPyConnection, table: Table, partitions: list[_Partition]) -> None:
    """Go on at the next record of each: what is before the first, or missing, may be long."""
    if not (spans := {each.number: (each.at, each.end) for each in partitions if each.has_more}):
        return
    found = dict(
        lake.execute(
            f'SELECT partition, min("offset") FROM {quoted(table.name)} WHERE {_within(spans)} GROUP BY partition'
        ).fetchall()
    )
    for each in partitions:
        each.at = found.get(each.number, each.end)


def _within(spans: Ranges) -> str:
    """The first part is what the files' statistics can be asked."""
    low, high = min(low for low, _ in spans.values()), max(end for _, end in spans.values())
    of = (f'(partition = {p} AND "offset" >= {at} AND "offset" < {end})' for p, (at, end) in spans.items())
    return f'"offset" >= {low} AND "offset" < {high} AND ({" OR ".join(of)})'

"""Records of a range of offsets, as many at a time as fit into so many bytes. Pure, but for what `read` does."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Row = TypeVar("Row")


def windows(
    read: Callable[[int, int], Iterable[Row]],
    size: Callable[[Row], int],
    since: int,
    until: int,
    *,
    offsets: int,
    at_most: int,
) -> Iterator[list[Row]]:
    """The rows that `read` gives of ranges (from, to before), range after range, from `since` to before `until`.

    A range has `offsets` at most, and `at_most` bytes of rows, or one offset: one that has more is given up and read
    anew as shorter ones. Within a range the rows come as they are read.
    """
    width = offsets
    while since < until:
        end = min(since + width, until)
        rows, total = [], 0
        for row in read(since, end):
            rows.append(row)
            total += size(row)
            if total > at_most and end - since > 1:
                width = (end - since) // 2
                break
        else:
            yield rows
            since = end
            if 2 * total <= at_most:
                width = min(2 * width, offsets)


def size_of(record: tuple) -> int:
    """Bytes of a record that ends with its key, value and headers, these as {"key": …, "value": …}."""
    *_, key, value, headers = record
    parts = (key, value, *(part for each in headers or () for part in each.values()))
    return sum(len(part) for part in parts if part)

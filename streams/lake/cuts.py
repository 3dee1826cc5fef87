"""Where batches end on the way through what waits: at one time of the broker in all partitions.

Where partitions were added a key has older records in one and newer ones in another. Cut by each partition's share of
what waits, the newer would come in an earlier batch than the older. Pure: what is asked of the broker is handed in.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator

from infra.kafka import Offsets

# Where each partition stood at a time (ms): the offset of the first record from then on, else its end.
Clock = Callable[[int], Offsets]


def covering(planned: Offsets, clock: Clock, now: int) -> Offsets:
    """Where all partitions stood when the last of what is planned came; beyond the plan in most of them."""
    there = bisect_left(range(now), True, key=lambda time: _covers(clock(time), planned))
    return _farther(planned, clock(there))


def in_time(since: Offsets, until: Offsets, most: int, clock: Clock, now: int) -> Iterator[Offsets]:
    """Offsets on the way, of which the last is `until`, so that between two lie about `most` at most."""
    total, before, begin = _records(since, until), since, 0
    number = -(-total // most)
    for n in range(1, number):
        wanted = total * n // number
        begin = bisect_left(
            range(now),
            wanted,
            lo=begin,
            key=lambda time: _records(since, _between(since, clock(time), until)),
        )
        step = _between(since, clock(begin), until)
        # What came in one millisecond is not cut.
        if step not in (before, until):
            yield step
            before = step
    yield until


def in_shares(since: Offsets, until: Offsets, most: int) -> Iterator[Offsets]:
    """The same without a clock: each partition goes on by its share. None where there is no way to go."""
    number = -(-_records(since, until) // most)
    for n in range(1, number + 1):
        yield {at: since[at] + (until[at] - since[at]) * n // number for at in until}


def _records(since: Offsets, until: Offsets) -> int:
    return sum(until[at] - since[at] for at in until)


def _covers(found: Offsets, planned: Offsets) -> bool:
    return all(found[at] >= planned[at] for at in planned)


def _farther(one: Offsets, other: Offsets) -> Offsets:
    return {at: max(one[at], other[at]) for at in one}


def _between(since: Offsets, found: Offsets, until: Offsets) -> Offsets:
    return {at: min(max(since[at], found[at]), until[at]) for at in until}

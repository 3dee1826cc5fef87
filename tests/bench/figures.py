"""Numbers from samples: percentiles, the slope of a series, how long records waited. Pure."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Place = tuple[str, int]  # source topic, partition
Seen = tuple[float, Mapping[Place, int]]  # when, and the next offset of each partition at that moment


class Produced(NamedTuple):
    """A record of the load: when it was handed to the producer (s, monotonic) and where the broker put it."""

    at: float
    topic: str
    partition: int
    offset: int


class Judged(NamedTuple):
    """A verdict: when it came (s, monotonic), on the record where, and whether a, r or u: undecided yet."""

    at: float
    topic: str
    partition: int
    offset: int
    verdict: str


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` of all are not above (nearest rank). `ordered` ascends."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(samples: Iterable[float], digits: int = 1) -> dict[str, float | int | None]:
    """p50, p90, p99 and max, and of how many samples; None where there is none."""
    ordered = sorted(samples)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {n: round(percentile(ordered, s), digits) if ordered else None for n, s in shares.items()}
    return {**found, "samples": len(ordered)}


def slope(series: Sequence[tuple[float, float]]) -> float:
    """Least-squares growth per second of (second, value); 0 for fewer than two moments."""
    if len({at for at, _ in series}) < 2:
        return 0.0
    mean_at = sum(at for at, _ in series) / len(series)
    mean = sum(value for _, value in series) / len(series)
    over = sum((at - mean_at) * (value - mean) for at, value in series)
    return over / sum((at - mean_at) ** 2 for at, _ in series)


class Sightings:
    """When each offset was first seen to be counted, from what one reader saw, in the order in which it saw it."""

    def __init__(self, seen: Iterable[Seen]) -> None:
        self._times: defaultdict[Place, list[float]] = defaultdict(list)
        self._nexts: defaultdict[Place, list[int]] = defaultdict(list)
        for at, offsets in seen:
            for place, offset in offsets.items():
                nexts = self._nexts[place]
                if not nexts or offset > nexts[-1]:
                    nexts.append(offset)
                    self._times[place].append(at)

    def first(self, record: Produced) -> float | None:
        """When the record was first seen; None: never."""
        place = record.topic, record.partition
        n = bisect_right(self._nexts[place], record.offset)
        return self._times[place][n] if n < len(self._times[place]) else None


def waits(records: Iterable[Produced], sightings: Sightings) -> tuple[list[float], int]:
    """How long (ms) each record took from being produced to being seen, and how many never were."""
    found, missing = [], 0
    for record in records:
        seen = sightings.first(record)
        if seen is None:
            missing += 1
        else:
            found.append((seen - record.at) * 1000)
    return found, missing


def held(lags: Sequence[tuple[float, float]], rate: float, offered: float) -> dict[str, Any]:
    """Whether a rate (records/s) was held: `lags` are (second, records behind), `offered` what the load reached.

    Held: in the second half the lag grows by less than 1 % of the rate, and the load itself kept up.
    """
    half = lags[len(lags) // 2 :]
    growth = slope(half)
    ordered = sorted(lag for _, lag in lags)
    return {
        "rate": rate,
        "offered": round(offered),
        "lag_p50": round(percentile(ordered, 0.5)) if ordered else None,
        "lag_max": round(ordered[-1]) if ordered else None,
        "growth_per_second": round(growth, 1),
        "held": bool(half) and growth < 0.01 * rate and offered > 0.98 * rate,
    }

"""How far a generation is: what its numbers in Redis and its lake are functions of, held against where the topics end.

Reads Redis, the newest manifest, the source topics' ends.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from infra.generation import source_bounds
from infra.generations import Generation
from infra.kafka import Offsets
from infra.settings import Settings
from schemas.errors import Unavailable
from serving.lake.reader import Lake, NoLake
from serving.store.keys import Keys, parse_place
from serving.store.store import connect
from serving.verified import Found, told, verified_keys
from streams.lake.place import lake_root

PACE_SECONDS = 60.0


@dataclass(frozen=True)
class Progress:
    """`numbers` and `lake` are the next offsets of each source partition; `starts` and `ends` those of the topics.

    `filled` are rows of its lake that are in Redis and do not count yet; None while nothing is filled in.
    """

    generation: str
    starts: Offsets
    numbers: Offsets
    lake: Offsets
    ends: Offsets
    manifest: int | None
    verified: Found | None
    filled: int | None = None

    @property
    def records(self) -> int:
        """Offsets in all."""
        return _sum(self.ends) - _sum(self.starts)

    @property
    def numbers_behind(self) -> int:
        return _behind(self.numbers, self.ends)

    @property
    def lake_behind(self) -> int:
        return _behind(self.lake, self.ends)

    @property
    def behind(self) -> int:
        """Of the slower of the two."""
        return max(self.numbers_behind, self.lake_behind)

    @property
    def to_go(self) -> int:
        """The same, but for numbers that have not begun: they are filled at once when the lake is there."""
        return self.lake_behind if self.waits_for_lake else self.behind

    @property
    def done(self) -> int:
        return self.records - self.to_go

    @property
    def waits_for_lake(self) -> bool:
        return self.manifest is not None and self.numbers == self.starts and self.lake != self.starts

    def as_json(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "records": self.records,
            "numbers_behind": self.numbers_behind,
            "lake_behind": self.lake_behind,
            "manifest": self.manifest,
            "filled": self.filled,
            "verified": None if self.verified is None else self.verified.exact,
        }


@dataclass(frozen=True)
class Pace:
    """How fast it goes: `rate` is records/s of the slower of numbers and lake, `grow` those that the topics grow by.

    `seconds_to_go` until it is as far as the topics, as it goes and they grow; None if it comes no nearer.
    """

    rate: float
    grow: float
    seconds_to_go: float | None

    @classmethod
    def between(cls, first: Progress, last: Progress, seconds: float) -> "Pace":
        """From `first` to `last`, `seconds` later, which are more than 0."""
        done, nearer = last.done - first.done, first.to_go - last.to_go
        left = last.to_go / nearer * seconds if nearer > 0 else None
        return cls(
            max(0, done) / seconds, (last.records - first.records) / seconds, left if last.to_go else 0.0
        )


class Paces:
    """The pace of each generation since a minute ago, as far as somebody has looked since."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, Progress]]] = {}

    def see(self, now: float, progress: Progress) -> Pace | None:
        """Of a look at `now`, in seconds of a clock that only goes on; None for the first one."""
        seen = self._seen.setdefault(progress.generation, deque())
        # The last one stays, however old: whoever asks once an hour gets the mean of that hour.
        while len(seen) > 1 and now - seen[0][0] > PACE_SECONDS:
            seen.popleft()
        if seen and _sum(progress.ends) < _sum(seen[0][1].ends):
            seen.clear()  # other topics
        seen.append((now, progress))
        at, first = seen[0]
        return Pace.between(first, progress, now - at) if now > at else None


def read_progress(settings: Settings, generation: Generation) -> Progress:
    """As it is now. Raises Unavailable."""
    _, ends = source_bounds(settings, generation)
    starts = {at: generation.start(*at) for at in generation.partitions()}
    keys, redis = Keys.of(settings, generation.name), connect(settings)
    try:
        fences = redis.hgetall(keys.fence)
        filling = redis.hget(keys.meta, "filling")
        verified = told(*redis.mget(verified_keys(settings, generation.name)))
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    finally:
        redis.close()
    numbers = starts | {parse_place(at.decode()): int(offset) for at, offset in fences.items()}
    try:
        manifest = Lake(lake_root(settings, generation.name)).newest()
        lake, batch = starts | dict(manifest.until), manifest.number
    except NoLake:
        lake, batch = starts, None
    filled = int(filling.decode().rpartition(":")[2]) if filling else None
    return Progress(generation.name, starts, numbers, lake, ends, batch, verified, filled)


def _sum(offsets: Mapping[tuple[str, int], int]) -> int:
    return sum(offsets.values())


def _behind(reached: Offsets, ends: Offsets) -> int:
    return sum(max(0, end - reached.get(at, 0)) for at, end in ends.items())

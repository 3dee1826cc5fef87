"""Reads Redis for the API: any number of metric queries and the state's own figures, all of one moment.

Nothing leaves without the offsets that it is a function of, and those never go back: while Redis holds less than has
been shown before, or less than the topics held when it was lost, the answer is `Rebuilding`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from infra.kafka import Offsets
from schemas.errors import DataflowError, Transient, Unavailable
from schemas.metric import Active
from schemas.metrics import DIMENSIONS
from serving.read.query import Attributes, MetricQuery, evaluate, iso
from serving.store.functions import function
from serving.store.keys import Keys, parse_place

NO_LISTS: Mapping[str, int] = {}


class Rebuilding(DataflowError, Transient):
    """Redis does not hold all that was there before: it is being filled again from the topics."""


@dataclass(frozen=True)
class AsOf:
    """What an answer is a function of: `offsets` are the next ones, the source topics' records below them are counted.

    `event_time` is the newest event time (µs) among what changed something, `kafka_time` the newest time (µs) at which
    the broker took a record that is counted; 0 before the first.
    """

    generation: str
    offsets: Offsets
    event_time: int
    kafka_time: int

    @property
    def now(self) -> int:
        """Where a span without an end ends (µs): at the newest event, or at the broker's newest time if earlier."""
        return min(self.event_time, self.kafka_time)

    @property
    def position(self) -> int:
        """The sum of the offsets: a number that grows with every record, for ordering answers and resuming push."""
        return sum(self.offsets.values())

    def as_json(self, now: float | None = None) -> dict[str, Any]:
        """As it stands in every answer; `age_ms` is how long ago the newest event happened."""
        offsets: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in sorted(self.offsets.items()):
            offsets.setdefault(topic, {})[str(partition)] = offset
        now = time.time() if now is None else now
        seen = self.event_time > 0
        return {
            "generation": self.generation,
            "position": self.position,
            "event_time": iso_micros(self.event_time) if seen else None,
            "age_ms": round(now * 1000 - self.event_time / 1000) if seen else None,
            "offsets": offsets,
        }


@dataclass(frozen=True)
class Answer:
    """The rows of each query, in the queries' order, and the whole hashes and heads of lists that were asked for.

    `attributes` are those of the dimensions' current rows: dimension → entity → values.
    """

    as_of: AsOf
    rows: list[list[dict[str, Any]]]
    hashes: dict[str, dict[str, str]]
    meta: Mapping[str, str]
    attributes: Attributes
    lists: Mapping[str, Sequence[bytes]]


class Reader:
    """Reads one generation. `redis` returns bytes; it is shared by all readers of the process.

    `server` tells the run id of the Redis server that is connected to, None if that is not known.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        generation: str,
        time_zone: str,
        server: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.redis, self.keys, self.generation = redis, keys, generation
        self._server = server
        self.zone = ZoneInfo(time_zone)
        self._served: Offsets = {}
        # The dimensions' attributes as of a version, replaced as a whole.
        self._dimensions: tuple[str, Attributes] = ("none", {name: {} for name in DIMENSIONS})

    @property
    def served(self) -> Offsets:
        """The highest offsets that were ever answered: from now on no answer has less."""
        return self._served

    def remember(self, served: Offsets) -> None:
        """Whoever answered before has answered these offsets: less is not shown here either."""
        self._served = {at: max(offset, self._served.get(at, 0)) for at, offset in served.items()}

    async def read(
        self,
        queries: Sequence[MetricQuery] = (),
        hashes: Sequence[str] = (),
        lists: Mapping[str, int] = NO_LISTS,
    ) -> Answer:
        """Answer all queries at one moment.

        `hashes` are key names to read along (see `serving.store.keys`), `lists` those of lists, with how much of each.

        Raises QueryError, Rebuilding, and Unavailable if Redis does not answer.
        """
        # What was served before this read was sent; another read's answer may overtake it.
        served, (version, attributes) = self._served, self._dimensions
        arguments: list[str] = []
        shapes: list[tuple[MetricQuery, list[int], list[str]]] = []
        # Each bucket is read once, however many queries look at it: key → its place in the answer.
        places: dict[str, int] = {}
        for query in queries:
            if isinstance(query.metric, Active):
                newest = f"newest:{query.metric.of}:{query.metric.within_micros}"
                keys = [self.keys.active(query.metric.name, m.name) for m in query.metric.measures]
                letter, argument, starts = "N", newest, []
            else:
                starts = query.buckets(self.zone)
                keys = [self.keys.bucket(query.metric.name, query.grain, start) for start in starts]
                letter, argument = "H", ""
            for key in keys:
                if key not in places:
                    places[key] = len(places)
                    arguments += (letter, key, argument)
            shapes.append((query, starts, keys))
        for name in DIMENSIONS:
            arguments += ("I", self.keys.dimension(name), version)
        for key in hashes:
            arguments += ("H", key, "")
        for key, most in lists.items():
            arguments += ("L", key, str(most))
        meta, fences, found = await self._call(arguments)
        as_of = self._as_of(meta, fences, served)
        at = len(places)
        if meta.get("dims") != version:
            attributes = _attributes(found[at : at + len(DIMENSIONS)])
            self._dimensions = meta.get("dims", "none"), attributes
        buckets: dict[str, dict[str, int]] = {}
        rows = []
        for query, starts, keys in shapes:
            if isinstance(query.metric, Active):
                names = [measure.name for measure in query.metric.measures]
                rows.append([{name: found[places[key]] for name, key in zip(names, keys, strict=True)}])
                continue
            for key in keys:
                if key not in buckets:
                    buckets[key] = _numbers(found[places[key]])
            rows.append(evaluate(query, zip(starts, map(buckets.get, keys), strict=True), attributes))
        at += len(DIMENSIONS)
        texts = {key: _texts(flat) for key, flat in zip(hashes, found[at:], strict=False)}
        heads = dict(zip(lists, found[at + len(hashes) :], strict=True))
        return Answer(as_of, rows, texts, meta, attributes, heads)

    async def _call(self, arguments: Sequence[str]) -> tuple[dict[str, str], dict[str, str], list[Any]]:
        try:
            meta, fences, *found = await self.redis.execute_command(
                "FCALL_RO", function("read"), 2, self.keys.meta, self.keys.fence, *arguments
            )
        except ResponseError as error:
            if "not found" in str(error).lower():
                raise Rebuilding("Redis is empty: it is being filled again from the topics") from error
            raise Unavailable(f"Redis refuses a read: {error}") from error
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        return _texts(meta), _texts(fences), found

    def _as_of(self, meta: Mapping[str, str], fences: Mapping[str, str], served: Offsets) -> AsOf:
        if "spec" not in meta:
            raise Rebuilding("Redis is empty: it is being filled again from the topics")
        claimed, connected = meta.get("server"), self._server()
        if claimed and connected and claimed != connected:
            raise Rebuilding(
                "Redis was started again and may be older than what was shown: the materializer has not looked yet"
            )
        if any(name.startswith("reread:") for name in meta):
            raise Rebuilding(
                "Redis was started again and may be older than what was shown: the last verdicts are applied again"
            )
        offsets = {parse_place(name): int(offset) for name, offset in fences.items()}
        missing = 0
        for name, offset in meta.items():
            if name.startswith("rebuild:"):
                missing += max(0, int(offset) - offsets.get(parse_place(name.removeprefix("rebuild:")), 0))
        missing += sum(max(0, offset - offsets.get(at, 0)) for at, offset in served.items())
        if missing:
            raise Rebuilding(
                f"Redis is being filled again from the topics: at least {missing:,} records to go"
            )
        self._served = {at: max(offset, self._served.get(at, 0)) for at, offset in offsets.items()}
        return AsOf(self.generation, offsets, int(meta.get("newest", 0)), int(meta.get("kafka_time", 0)))


def iso_micros(micros: int) -> str:
    """A UTC time in µs as RFC 3339 with microseconds."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{iso(seconds)[:-1]}.{rest:06d}Z"


def _attributes(found: Sequence[Sequence[bytes]]) -> Attributes:
    return {
        name: {key: orjson.loads(text) for key, text in _texts(flat).items()}
        for name, flat in zip(DIMENSIONS, found, strict=True)
    }


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    decoded = [part.decode() for part in flat]
    return dict(zip(decoded[::2], decoded[1::2], strict=True))


def _numbers(flat: Sequence[bytes]) -> dict[str, int]:
    return {flat[n].decode(): int(flat[n + 1]) for n in range(0, len(flat), 2)}

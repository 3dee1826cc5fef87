"""What the serving tests share: verdicts made in plain Python, and a fold of them into a real Redis."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Message
from redis.asyncio import Redis

from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.metrics import DIMENSIONS, METRICS
from schemas.validate import micros
from serving.fold.fold import Fold
from serving.fold.plan import Plan
from serving.fold.state import Known
from serving.materializer.operations import operations
from serving.materializer.writer import merged
from serving.read import MetricQuery, Reader
from serving.store.keys import Keys, decode_field, place
from serving.store.store import Store, connect
from sources.codec import EventCodec
from sources.generator import Emission
from tests.sources.generator_kit import ARRIVAL, CODEC, reasons

Verdict = dict[str, Any]


def canonical(topic: str, event: dict[str, Any]) -> dict[str, Any]:
    """An event as the live job writes it: no personal data, no nulls, money in minor units, times in µs."""
    fields = CONTRACTS[topic].fields
    plain = {}
    for name, field in fields.items():
        value = event[name]
        if value is None:
            continue
        if field.type == "decimal":
            value = int(value.scaleb(field.scale))
        elif isinstance(value, datetime):
            value = micros(value)
        plain[name] = value
    return {name: value for name, value in plain.items() if not fields[name].pii}


def judged(place: dict[str, Any], topic: str, key: bytes, value: bytes, arrival: datetime, codec) -> Verdict:
    """The verdict of one record."""
    broken = reasons(topic, key, value, arrival, codec)
    if broken:
        return {**place, "v": "r", "r": sorted(broken)}
    event = codec.decode(topic, value)
    contract = CONTRACTS[topic]
    names = (*contract.row_fields, "op") if contract.is_change else contract.row_fields
    text = json.dumps([str(event[name]) for name in names])
    content = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
    return {**place, "v": "a", "h": content, "e": canonical(topic, event)}


def verdicts(emissions: Iterable[Emission], arrival: datetime = ARRIVAL) -> list[Verdict]:
    """One verdict per emission, all in partition 0 of their topics."""
    offsets: Counter[str] = Counter()
    found = []
    for emission in emissions:
        topic = emission.topic
        place = {"t": topic, "p": 0, "o": offsets[topic], "ts": micros(arrival)}
        offsets[topic] += 1
        found.append(judged(place, topic, emission.key, emission.value, arrival, CODEC))
    return found


def verdict_of(topic: str, message: Message, codec: EventCodec) -> Verdict:
    """The verdict of a record as it came from Kafka."""
    millis = message.timestamp()[1]
    place = {"t": topic, "p": message.partition(), "o": message.offset(), "ts": millis * 1000}
    arrival = datetime.fromtimestamp(millis / 1000, UTC)
    return judged(place, topic, message.key(), message.value(), arrival, codec)


class Folded:
    """A generation in a real Redis, filled run by run by the fold and the store, without Kafka."""

    def __init__(self, settings: Settings, remembered: int = 200_000) -> None:
        self.settings = settings
        self.plan = Plan(METRICS, DIMENSIONS, settings.shop_timezone)
        self.keys = Keys.of(settings, "g1")
        self.redis = connect(settings)
        self.store = Store(self.redis, self.keys)
        self.fold = Fold(self.plan, self.keys)
        self.epoch = self.store.claim().epoch
        fences = [part for topic in CONTRACTS for part in (place(topic, 0), 0)]
        self.store.commit(
            self.epoch,
            {},
            [
                ("S", self.keys.meta, ["spec", self.plan.digest(settings.max_event_bytes)]),
                ("S", self.keys.fence, fences),
            ],
        )
        self.fences = {(topic, 0): 0 for topic in CONTRACTS}
        self.known = Known(remembered)
        self.newest: dict[str, int] = {"": 0}
        self.conflicts: list[tuple[str, int, int]] = []

    def apply(self, run: Sequence[Verdict]) -> None:
        """One commit."""
        missing = self.known.missing(where for verdict in run for where in self.fold.places(verdict))
        for where, value in zip(missing, self.store.fetch(missing), strict=True):
            self.known.learn(where, value)
        effects = self.fold.fold(run, self.known.found)
        self.newest = merged(self.newest, effects.newest)
        ranges = {}
        for verdict in run:
            at = (verdict["t"], verdict["p"])
            ranges[at] = (self.fences[at], verdict["o"] + 1)
        meta = ["newest", self.newest[""]]
        for topic, at in self.newest.items():
            meta += (f"newest:{topic}", at) if topic else ()
        changes = operations(effects, self.plan, self.keys, self.newest)
        self.store.commit(self.epoch, ranges, [*changes, ("S", self.keys.meta, meta)])
        self.known.update(effects.places)
        self.fences |= {at: until for at, (_, until) in ranges.items()}
        self.conflicts += effects.conflicts

    def close(self) -> None:
        self.redis.close()


def async_redis(settings: Settings) -> Redis:
    return Redis(host=settings.redis_host, port=settings.redis_port, db=settings.redis_db, retry=None)


def stored_rows(redis, keys: Keys, metric: str, grain: str) -> dict[tuple, dict[str, int]]:
    """A metric's rows as they stand in Redis, in the form of the generator's ground truth; zeros are an error."""
    rows: dict[tuple, dict[str, int]] = {}
    prefix = keys.bucket(metric, grain, 0)[:-1]
    for key in redis.scan_iter(match=prefix + "*", count=1000):
        start = int(key.decode().removeprefix(prefix))
        for field, amount in redis.hgetall(key).items():
            dimensions, measure = decode_field(field.decode())
            assert int(amount) != 0, f"a zero was left at {key!r} {field!r}"
            rows.setdefault((start, *(d or "" for d in dimensions)), {})[measure] = int(amount)
    return rows


def without_zeros(rows: dict[tuple, dict[str, int]]) -> dict[tuple, dict[str, int]]:
    return {key: {name: n for name, n in row.items() if n} for key, row in rows.items()}


async def ask(settings: Settings, *queries: MetricQuery):
    """Read with a Reader of its own."""
    redis = async_redis(settings)
    try:
        return await Reader(redis, Keys.of(settings, "g1"), "g1", settings.shop_timezone).read(queries)
    finally:
        await redis.aclose()

"""What the serving tests share: verdicts of the generator's records, and a fold of them into a real Redis."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from confluent_kafka import Message
from redis.asyncio import Redis

from dataflow.testing import Judge, Letter
from dataflow.testing.counting import Counting, places
from dataflow.testing.offline import Failpoint
from dataflow.testing.records import Record
from infra.registry import RegisteredSchema
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.validate import micros
from serving.fold.fold import CONFLICT
from serving.read import MetricQuery, Reader
from serving.store.keys import Keys, decode_field
from serving.store.store import connect
from sources.generator import Emission
from tests.sources.generator_kit import ARRIVAL, IDS

Verdict = dict[str, Any]


def judge_of(ids: Mapping[str, int]) -> Judge:
    """Knows each contract's own schema under these ids."""
    known = {topic: [RegisteredSchema(ids[topic], 1, c.avro_json)] for topic, c in CONTRACTS.items()}
    return Judge(known, ids)


@cache
def generators_judge() -> Judge:
    return judge_of(IDS)


def verdicts(emissions: Iterable[Emission], arrival: datetime = ARRIVAL) -> list[Verdict]:
    """One verdict per emission, all in partition 0 of their topics."""
    offsets: Counter[str] = Counter()
    found = []
    for emission in emissions:
        topic = emission.topic
        record = Record(topic, 0, offsets[topic], emission.key, emission.value, micros(arrival))
        offsets[topic] += 1
        found.append(generators_judge().verdict(record).as_json())
    return found


def verdict_of(topic: str, message: Message, ids: Mapping[str, int]) -> Verdict:
    """The verdict of a record as it came from Kafka."""
    return judge_of(ids).verdict(message, topic).as_json()


class Folded(Counting):
    """A generation in a real Redis, filled run by run, without Kafka."""

    def __init__(self, settings: Settings, remembered: int = 200_000) -> None:
        super().__init__(settings, connect(settings))
        self.claim(places(), Failpoint(None), remembered)

    @property
    def conflicts(self) -> list[Letter]:
        return [letter for letter in self.dead_letters() if CONFLICT in letter.reasons]

    def apply(self, run: Sequence[Verdict]) -> None:
        """One commit of verdicts, each of which must be the next of its topic."""
        assert all(self.admission.admits(verdict) for verdict in run), "a verdict is not the next one"
        self.commit(run)

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

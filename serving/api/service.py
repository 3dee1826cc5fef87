"""What all routes share: settings, the reader of the live generation, what is known of Kafka, push and ingest.

One `Service` per process. Its reader is replaced as a whole when another generation goes live.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from redis.exceptions import RedisError
from starlette.requests import Request

from infra.generations import Generation, read_generations
from infra.settings import Settings
from schemas.errors import Unavailable
from serving.api.health import Health
from serving.api.ingest.ingest import Ingest
from serving.api.kafka_watch import KafkaView, KafkaWatch
from serving.api.lake.work import LakeWork
from serving.api.letters.scans import Scans
from serving.api.live.frames import world_of
from serving.api.live.hub import Hub
from serving.api.redis_client import ServerIdentity, connect
from serving.api.replays.work import Replays
from serving.api.shared_reads import SharedReads
from serving.api.telemetry import Telemetry
from serving.api.waiting import Waiting
from serving.dead_letters.follow import Follower
from serving.dead_letters.questions import Questions
from serving.fold.newest import Counted, newest_records
from serving.generation_progress import read_progress
from serving.read import Answer, AsOf, MetricQuery, Reader, Rebuilding
from serving.store.keys import Keys, place
from serving.verified import Found, told, verified_keys

AS_OF_SECONDS = 1.0
PROGRESS_SECONDS = 5.0
IN_LAKE = "lake:"  # marks what was told of the lake among what was told of live numbers

log = logging.getLogger("dataflow.api")


class Starting(Unavailable):
    """No generation is known yet, so there is nothing to read."""


class Service:
    """Everything behind the routes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.identity = ServerIdentity()
        self.redis = connect(settings, self.identity)
        self.telemetry = Telemetry()
        self.watch = KafkaWatch(settings, self._on_generation)
        self.hub = Hub(self, settings.api_max_live_clients)
        self.ingest = Ingest(settings, self.redis, self.telemetry)
        self.scans = Scans(settings)
        self.lake = LakeWork(settings)
        self.replays = Replays(settings)
        self.follower = Follower(settings)
        self.letters = Questions(settings, self.follower)
        self.zone = ZoneInfo(settings.shop_timezone)
        self._waiting = Waiting()
        self._reader: Reader | None = None
        self._reads: SharedReads | None = None
        self.world = ""  # marks which topics are counted, see `world_of`
        self._loop: asyncio.AbstractEventLoop | None = None
        self.on_known: Callable[[], None] = lambda: None  # called when another generation is read from now on

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.watch.start()
        self.ingest.start()
        self.follower.start()

    async def stop(self) -> None:
        self.watch.stop()
        self.ingest.stop()
        self.scans.stop()
        self.lake.stop()
        self.follower.stop()
        await self.hub.close()
        await self.redis.aclose()

    @property
    def kafka(self) -> KafkaView:
        return self.watch.view

    @property
    def is_known(self) -> bool:
        """Whether it is known which generation is read."""
        return self._reader is not None

    @property
    def served(self) -> dict[str, int]:
        """What readers have been told so far: offsets, by the topic's id and the partition."""
        if self._reader is None or self.kafka.generation is None:
            return {}
        topics = self.kafka.generation.topics
        numbers = {
            place(topics[topic].topic_id, p): offset
            for (topic, p), offset in self._reader.served.items()
            if topic in topics
        }
        return numbers | {IN_LAKE + at: offset for at, offset in self.lake.told.offsets.items()}

    def remember(self, served: Mapping[str, int]) -> None:
        """What the process that answered before has told. Topics that are others by now are left out."""
        if self._reader is None or self.kafka.generation is None:
            return
        generation = self.kafka.generation
        told = {
            at: served.get(place(generation.topics[at[0]].topic_id, at[1])) for at in generation.partitions()
        }
        self._reader.remember({at: offset for at, offset in told.items() if offset is not None})
        in_lake = {at.removeprefix(IN_LAKE): o for at, o in served.items() if at.startswith(IN_LAKE)}
        self.lake.told.remember(in_lake)

    async def reached_by(self, number: int) -> dict[str, int]:
        """As `served`: what another generation may have told readers at most, which is what it has by now."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._progress_of, number), PROGRESS_SECONDS)
        except Exception as error:  # noqa: BLE001 what another one left, by whatever code: it must not stop this one
            log.warning("what g%d has told is not to be seen: %r", number, error)
            return {}

    def _progress_of(self, number: int) -> dict[str, int]:
        generation = read_generations(self.settings).of(number).generation
        progress = read_progress(self.settings, generation)
        return {
            mark + place(generation.topics[topic].topic_id, p): offset
            for mark, offsets in (("", progress.numbers), (IN_LAKE, progress.lake))
            for (topic, p), offset in offsets.items()
        }

    @property
    def reader(self) -> Reader:
        """The reader of the live generation. Raises Starting."""
        if self._reader is None:
            reason = self.kafka.error or "no generation has been started: `python -m infra.bootstrap` does it"
            raise Starting(f"the live generation is not known yet: {reason}")
        return self._reader

    @property
    def reads(self) -> SharedReads:
        """The way to the reader for whoever asks along with others. Raises Starting."""
        return self._reads or SharedReads(self.reader)

    async def read(self, queries: Sequence[MetricQuery] = (), hashes: Sequence[str] = ()) -> Answer:
        """See `Reader.read`."""
        return await self.reads.read(queries, hashes)

    async def read_newest(self, topics: Iterable[str], limit: int) -> tuple[AsOf, list[Counted]]:
        """The newest `limit` counted records of `topics`, newest first, and the moment that they are of."""
        keys = self.reader.keys
        names = {topic: keys.newest(topic) for topic in topics}
        answer = await self.reads.read(lists=dict.fromkeys(names.values(), limit))
        return answer.as_of, newest_records({t: answer.lists[key] for t, key in names.items()}, limit)

    async def as_of(self) -> dict[str, Any] | None:
        """What is counted so far: a record whose offset is below is. None while that cannot be read."""
        try:
            async with asyncio.timeout(AS_OF_SECONDS):
                return (await self.read()).as_of.as_json()
        except (Rebuilding, Unavailable, TimeoutError):
            return None

    async def read_health(self, queries: Sequence[MetricQuery] = ()) -> tuple[Answer, Health]:
        """Rows and the state's own figures, of one moment."""
        keys = self.reader.keys
        answer = await self.read(queries, (keys.base, keys.counts, keys.held))
        return answer, self.health(answer, keys)

    async def verified(self, generation: str) -> Found | None:
        """What a second computation last found about a generation, that which the rest of an answer is of.

        None if nothing yet. Raises Unavailable.
        """
        keys = verified_keys(self.settings, generation)
        try:
            return told(*await self.redis.mget(keys))
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    def health(self, answer: Answer, keys: Keys) -> Health:
        base, counts, held = (answer.hashes[key] for key in (keys.base, keys.counts, keys.held))
        now = time.monotonic()
        health = Health.of(answer.as_of, base, counts, held, self.kafka, time.time(), now)
        return replace(health, waited=self._waiting.seconds(answer.as_of.position, health.behind, now))

    def _on_generation(self, generation: Generation) -> None:
        self._loop.call_soon_threadsafe(self._switch, generation)

    def _switch(self, generation: Generation) -> None:
        self.world = world_of(each.topic_id for each in generation.topics.values())
        if self._reader is not None and self._reader.generation == generation.name:
            return
        keys = Keys.of(self.settings, generation.name)
        self._reader = Reader(
            self.redis, keys, generation.name, self.settings.shop_timezone, lambda: self.identity.run_id
        )
        self._reads = SharedReads(self._reader)
        self.hub.switch()
        self.on_known()


def service_of(request: Request) -> Service:
    return request.app.state.service

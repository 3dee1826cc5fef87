"""What push reads from: the live state and its health, and Redis's channel that announces commits."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.settings import Settings
from schemas.errors import DataflowError
from serving.api.health import Health
from serving.dead_letters.follow import Follower
from serving.fold.newest import Counted
from serving.read import Answer, AsOf, MetricQuery, Reader
from serving.verified import Found

SILENCE = 1.0  # seconds after which a listener looks whether it is still wanted
SHORTEST_BACKOFF, LONGEST_BACKOFF = 0.1, 2.0


class Source(Protocol):
    """What the hub reads from."""

    settings: Settings
    redis: Redis
    follower: Follower

    @property
    def reader(self) -> Reader: ...

    @property
    def world(self) -> str: ...

    async def read_health(self, queries: Sequence[MetricQuery] = ()) -> tuple[Answer, Health]: ...

    async def verified(self, generation: str) -> Found | None: ...

    async def read_newest(self, topics: Iterable[str], limit: int) -> tuple[AsOf, list[Counted]]: ...


async def wake_at_commits(source: Source, wake: asyncio.Event) -> None:
    """Set `wake` at each commit until the task is cancelled. While Redis is away somebody else has to look after it."""
    backoff = SHORTEST_BACKOFF
    while not is_cancelled():
        try:
            channel = source.reader.keys.channel
            async with source.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(channel)
                wake.set()
                while not is_cancelled():
                    if await pubsub.get_message(timeout=SILENCE) is not None:
                        backoff = SHORTEST_BACKOFF
                        wake.set()
        except (DataflowError, RedisError, OSError):
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF)


def is_cancelled() -> bool:
    """Whether somebody ends this task. redis-py now and then swallows the cancellation that it is told by."""
    return asyncio.current_task().cancelling() > 0

"""Versions for events that bring none: the ingest is their one authority, so that versions of an entity compare.

One call to Redis for all events of a request, and for small requests that come at the same time. The same event gets
the same version again for a week, so that a retry is a repeat. Reads and writes `<env>:ingest:…`.
"""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from schemas.errors import Unavailable
from serving.api.gathered import Gathered
from serving.store.functions import LIBRARY, function

REMEMBERED_SECONDS = 7 * 86_400
# Lua and the server's parser take more, but a call of this size takes 10 ms and holds up everybody.
CALL = 1_000
FEW, TOGETHER = 8, 64


class Versions:
    """Gives versions, in µs since 1970 or just above the last one given."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix + "ingest:"
        self._gathered: Gathered[tuple[Sequence[str], int], list[int]] = Gathered(self._together, TOGETHER)

    async def give(self, events: Sequence[tuple[str, str]], clock: int) -> list[int]:
        """A version for each (topic, event id). `clock` is UTC µs. Raises Unavailable."""
        found: list[int] = []
        for start in range(0, len(events), CALL):
            keys = [f"{self._prefix}e:{topic}:{event_id}" for topic, event_id in events[start : start + CALL]]
            found += await (self._call(keys, clock) if len(keys) > FEW else self._gathered.ask((keys, clock)))
        return found

    async def _together(self, asked: Sequence[tuple[Sequence[str], int]]) -> Sequence[list[int]]:
        given = iter(await self._call([key for keys, _ in asked for key in keys], max(c for _, c in asked)))
        return [[next(given) for _ in keys] for keys, _ in asked]

    async def _call(self, keys: Sequence[str], clock: int) -> list[int]:
        arguments = (1, self._prefix + "last", clock, REMEMBERED_SECONDS, *keys)
        try:
            try:
                given = await self._redis.fcall(function("versions"), *arguments)
            except ResponseError as error:
                if "not found" not in str(error).lower():
                    raise
                # Redis is new or was emptied, and the materializer has not come to it yet.
                await self._redis.function_load(LIBRARY, replace=True)
                given = await self._redis.fcall(function("versions"), *arguments)
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis, which gives versions, does not answer: {error}") from error
        return [int(version) for version in given]

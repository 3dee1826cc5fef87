"""Remove what Redis holds of a generation that is no longer the live one."""

import time

from redis import Redis
from redis.exceptions import RedisError

from infra.settings import Settings
from schemas.errors import Unavailable
from serving.store.keys import Keys
from serving.store.store import connect
from serving.verified import verified_keys

# A materializer looks every four seconds whether its generation is still the live one.
FOLLOW_SECONDS = 20.0
POLL_SECONDS = 0.2
SCAN_COUNT = 1_000
UNLINK_COUNT = 500  # a longer call blocks the server for everybody


def remove_generation(settings: Settings, before: str, now: str | None) -> int:
    """Remove the keys of generation `before`; returns how many there were. Raises Unavailable.

    Waits first until the materializer has claimed `now` (None: none runs): until then it would begin to fill the old
    one again. When it has not after FOLLOW_SECONDS, none runs.
    """
    keys = Keys.of(settings, before)
    redis = connect(settings)
    try:
        deadline = time.monotonic() + FOLLOW_SECONDS
        if now is not None and redis.exists(keys.meta):
            followed = Keys.of(settings, now).meta
            while not redis.exists(followed) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        return _unlink(redis, keys.space) + redis.unlink(*verified_keys(settings, before))
    except (RedisError, OSError) as error:
        raise Unavailable(f"the Redis keys {keys.space}* of {before} are not all removed: {error}") from error
    finally:
        redis.close()


def _unlink(redis: Redis, space: str) -> int:
    removed, batch = 0, []
    for key in redis.scan_iter(match=f"{space}*", count=SCAN_COUNT):
        batch.append(key)
        if len(batch) == UNLINK_COUNT:
            removed += redis.unlink(*batch)
            batch = []
    return removed + (redis.unlink(*batch) if batch else 0)

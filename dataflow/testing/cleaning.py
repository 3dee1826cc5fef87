"""Removes what an environment has left on services that belong to others: topics, subjects, keys, by their prefix."""

from contextlib import suppress

import httpx
from confluent_kafka import KafkaException
from redis.exceptions import RedisError

from infra.kafka import TIMEOUT, admin
from infra.settings import Settings
from serving.store.store import connect

TRIES = 4  # a registry on a busy machine cuts a connection now and then


def remove_environment(settings: Settings) -> None:
    """Remove all that begins with the environment's prefix. What does not let itself be removed is left alone."""
    with suppress(KafkaException, TimeoutError):
        client = admin(settings.kafka_bootstrap_servers)
        names = [n for n in client.list_topics(timeout=TIMEOUT).topics if n.startswith(settings.topic_prefix)]
        for future in client.delete_topics(names, operation_timeout=TIMEOUT).values() if names else ():
            future.result(TIMEOUT)
    for _ in range(TRIES):
        with suppress(httpx.HTTPError, ValueError):
            if not _remove_subjects(settings):
                break
    with suppress(RedisError, OSError):
        redis = connect(settings)
        try:
            for key in redis.scan_iter(match=settings.redis_prefix + "*", count=1_000):
                redis.unlink(key)
        finally:
            redis.close()


def _remove_subjects(settings: Settings) -> bool:
    """Whether there were any. Raises httpx.HTTPError."""
    with httpx.Client(base_url=settings.kafka_schema_registry, timeout=TIMEOUT, trust_env=False) as http:
        found = [name for name in http.get("/subjects").json() if name.startswith(settings.topic_prefix)]
        for name in found:
            # The first call hides a subject, the second one removes it.
            http.delete(f"/subjects/{name}")
            http.delete(f"/subjects/{name}", params={"permanent": "true"})
    return bool(found)

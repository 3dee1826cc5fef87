"""Schemas that change while events flow: the live job learns them by itself, and no record is lost or misread."""

import io
import json
import time
from collections import Counter

import fastavro
import pytest

from infra.bootstrap import bootstrap
from infra.generation import load_generation, source_bounds
from infra.registry import Registry, subject
from infra.runtime.platform import Platform
from schemas.contract import CONTRACTS
from serving.store.keys import Keys, place
from serving.store.store import connect
from sources.codec import HEADER, MAGIC
from tests.helpers import wait_for
from tests.streams.live.kit import ShopFeed, committed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOBODYS_ID = 2_000_000_123


def evolved(topic: str, field: dict) -> dict:
    """The contract's schema with one more field."""
    schema = json.loads(CONTRACTS[topic].avro_json)
    schema["fields"].append(field)
    return schema


def encoded(schema: dict, schema_id: int, event: dict) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), event)
    return HEADER.pack(MAGIC, schema_id) + out.getvalue()


def test_records_are_undecided_until_their_schema_is_known_and_refused_only_if_nobody_knows_it(settings):
    generation = bootstrap(settings)
    feed, redis, keys = ShopFeed(settings), connect(settings), Keys.of(settings, generation.name)
    registry = Registry(settings.kafka_schema_registry)

    def caught_up() -> bool:
        fences = {name.decode(): int(offset) for name, offset in redis.hgetall(keys.fence).items()}
        return fences == {place(*at): end for at, end in source_bounds(settings, generation)[1].items()}

    def counted(topic: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for name, count in redis.hgetall(keys.counts).items():
            of, _, verdict = name.decode().split("/")
            found[verdict] += int(count) * (of == topic)
        return +found

    with Platform(settings, ("live", "materializer")) as platform:
        feed.produce(200)
        wait_for(caught_up, 120, "the first verdicts")
        before, gaps = counted("clickstream"), []
        for turn, name in enumerate(("screen_width", "screen_height")):
            schema = evolved("clickstream", {"name": name, "type": ["null", "int"], "default": None})
            schema_id = registry.register(subject(settings, "clickstream"), schema)
            began = time.monotonic()
            for n in range(50):
                key, old, event = feed.good("clickstream")
                feed.send("clickstream", (key, encoded(schema, schema_id, {**event, name: n})))
                key, old, _ = feed.good("clickstream")
                feed.send(
                    "clickstream",
                    (key, old),
                    (key, HEADER.pack(MAGIC, NOBODYS_ID + turn) + old[HEADER.size :]),
                )
            feed.produce(100)
            wait_for(caught_up, 60, "verdicts on records of a schema that is new")
            gaps.append(time.monotonic() - began)
        after = counted("clickstream")
        assert platform.supervisor.process("live").restarts == 0
        assert platform.supervisor.process("materializer").restarts == 0
    print(f"settled after {', '.join(f'{gap:.1f}' for gap in gaps)} s")
    letters = Counter(
        dict(letter.headers())["reasons"]
        for letter in committed(settings, load_generation(settings).dead_letter_topic(settings))
        if letter.value()[:5] in {HEADER.pack(MAGIC, NOBODYS_ID + turn) for turn in (0, 1)}
    )
    assert letters == {b"unknown_schema_id": 100}
    assert after["changed"] - before["changed"] >= 200
    assert redis.hgetall(keys.held) == {}
    registry.close()
    redis.close()

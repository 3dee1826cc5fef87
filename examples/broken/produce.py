"""Writes broken records straight into Kafka, and says where each is and what is wrong with it.

    python -m examples.broken.produce                    the topics, and what can be wrong with a record of each
    python -m examples.broken.produce orders truncated    one such record
    python -m examples.broken.produce orders all          one of each

Reads the registry and, for addresses, the settings; writes the topic `<env>.<topic>`.
"""

import sys
import time
from datetime import UTC, datetime, timedelta

from infra.registry import schema_ids
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.contract import CONTRACTS, OWN_DIRECTORY, SHOP_TOPICS
from sources.codec import EventCodec
from sources.generator import Dials, Emission, ShopSimulator, moments
from sources.generator.faults import contradicting
from sources.generator.malformed import KINDS, MALFORMED, KeyAndValue, Record
from sources.generator.randomness import Chance
from sources.generator.rule_breaking import TWO_DAYS, breakers
from sources.producer import EventProducer

# Those that the made-up shop has something for.
TOPICS = [
    t for t in CONTRACTS if OWN_DIRECTORY is None or not (OWN_DIRECTORY / "avro" / f"{t}.avsc").exists()
]
SPAN, RECORDS = timedelta(days=12), 20_000  # long enough for something to be bought, delivered and reviewed


def names(topic: str) -> list[str]:
    """What can be wrong with a record of a topic: damage first, then the contract's rules."""
    conflict = ["version_conflict"] if CONTRACTS[topic].is_change else []
    rules = dict.fromkeys(breaker.rule for breaker in breakers(topic))
    return [*KINDS[topic], "key_is_not_entity_id", "too_large", *conflict, *rules]


def good_record(topic: str, codec: EventCodec, seed: int) -> Emission:
    """A record of a made-up shop that nothing is wrong with, of entities that nobody has seen."""
    start = datetime.now(UTC) - SPAN
    shop = ShopSimulator(seed, start, codec.schema_ids, Dials.none())
    return next(e for e in shop.emissions(moments(start, SPAN, RECORDS)) if e.topic == topic)


def broken(name: str, good: Emission, codec: EventCodec, chance: Chance, limit: int) -> list[KeyAndValue]:
    """Key and value of the record with `name` wrong, and before it of what it needs to be wrong."""
    topic, event, key, value = good[:4]
    if name in MALFORMED:
        return [MALFORMED[name](chance, Record(topic, event, key, value, codec.schema_ids))]
    if name == "key_is_not_entity_id":
        return [(chance.uuid().encode(), value)]
    if name == "too_large":
        return [(key, value + bytes(limit))]
    if name == "version_conflict":
        return [(key, value), codec.encode(topic, contradicting(chance, topic, event))]
    breaker = next(breaker for breaker in breakers(topic) if breaker.rule == name)
    changes = breaker.changes(event, datetime.now(UTC) + TWO_DAYS)
    return [codec.encode(topic, {**event, "event_id": chance.uuid(), **changes})]


def main() -> None:
    """What the command line asks for."""
    topic, wanted = (*sys.argv[1:], "", "")[:2]
    if topic not in TOPICS or wanted not in (*names(topic), "all"):
        sys.exit("\n\n".join(f"{each}: {', '.join(names(each))}" for each in TOPICS))
    settings = running_settings(Settings.load(), needs=("kafka_bootstrap_servers", "kafka_schema_registry"))
    ids, prefix = schema_ids(settings, SHOP_TOPICS), settings.topic_prefix
    codec, seed = EventCodec(ids), time.time_ns()
    good, chance = good_record(topic, codec, seed), Chance(f"{seed}|broken")
    places: list[str] = []
    with EventProducer(
        settings.kafka_bootstrap_servers,
        prefix,
        ids,
        on_delivered=lambda *at: places.append("/".join(map(str, at))),
    ) as producer:
        for name in names(topic) if wanted == "all" else [wanted]:
            for key, value in broken(name, good, codec, chance, settings.max_event_bytes):
                producer.produce_raw(topic, key, value)
            producer.flush()
            print(f"{places[-1]:<20}  {name}")


if __name__ == "__main__":
    main()

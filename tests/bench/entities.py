"""Any number of believable entities of one topic: an afternoon of the made-up shop, repeated with other ids.

Writes a source topic.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any

from infra.registry import schema_ids
from infra.settings import Settings
from schemas.contract import CONTRACTS
from sources.generator import Dials, ShopSimulator, moments
from sources.producer import EventProducer

SPAN = timedelta(hours=6)
SEED = 41
# Products are few and come back; everything else of a repeated afternoon is new.
KEPT = ("product_id",)
SPREAD = 0x9E3779B1  # odd, so that no two repetitions below 2**32 give an id the same new one


class Templates:
    """The new rows of an afternoon, by topic."""

    def __init__(self, settings: Settings, emissions: int) -> None:
        self._ids = schema_ids(settings)
        yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
        self.start = yesterday + timedelta(hours=12)
        self.events: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        shop = ShopSimulator(SEED, self.start, self._ids, Dials.none())
        for emission in shop.emissions(moments(self.start, SPAN, emissions)):
            if emission.event.get("op", "c") == "c":
                self.events[emission.topic].append(emission.event)

    def per_hour(self, topic: str) -> int:
        return round(len(self.events[topic]) / (SPAN / timedelta(hours=1)))

    def entities(self, topic: str) -> Iterator[dict[str, Any]]:
        """Events without end, each of a new entity: the afternoon itself, then that of the day before, and so on."""
        fields = CONTRACTS[topic].fields
        ids = [name for name in fields if name.endswith("_id") and name not in KEPT]
        times = [name for name, each in fields.items() if each.type == "timestamp"]
        for repetition in count():
            mask, back = repetition * SPREAD & 0xFFFFFFFF, timedelta(days=repetition)
            for event in self.events[topic]:
                changed = dict(event)
                for name in ids:
                    if (known := event.get(name)) is not None:
                        changed[name] = f"{known[:-8]}{int(known[-8:], 16) ^ mask:08x}"
                for name in times:
                    changed[name] = event[name] - back
                yield changed


def produce_entities(settings: Settings, templates: Templates, topic: str, wanted: int) -> int:
    """Produce so many new entities; returns how many records that took."""
    ids = schema_ids(settings)
    with EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, ids) as producer:
        for event in islice(templates.entities(topic), wanted):
            producer.produce(topic, event)
    return wanted

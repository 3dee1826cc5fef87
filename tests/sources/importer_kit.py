"""What the importer's tests share: a sink that keeps what it gets, and a small mapping to vary."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.contract import CONTRACTS
from sources.codec import EventCodec
from sources.importer import Account, Importer, RefusedLine, load_mapping

NOW = 1_790_000_000_000_000  # what the tests take for the broker's clock, UTC microseconds
CODEC = EventCodec({topic: i + 1 for i, topic in enumerate(CONTRACTS)})


class CollectingSink:
    """Keeps events and refused lines, and the bytes that Kafka would get, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.lines: list[RefusedLine] = []
        self.records: list[tuple[str, bytes, bytes]] = []
        self.flushed = 0

    def event(self, topic: str, event: Mapping[str, Any]) -> None:
        self.events.append((topic, dict(event)))
        self.records.append((topic, *CODEC.encode(topic, event)))

    def refused(self, line: RefusedLine) -> None:
        self.lines.append(line)
        self.records.append(("events.dead_letter", line.key, line.raw))

    def flush(self) -> None:
        self.flushed += 1

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [event for name, event in self.events if name == topic]

    def state(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What a reader makes of the events: per entity the highest version, the first of equal versions."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for topic, event in self.events:
            key = topic, event[CONTRACTS[topic].entity_id]
            if key not in found or event["version"] > found[key]["version"]:
                found[key] = event
        return found


MAPPING: dict[str, Any] = {
    "mapping": "shop",
    "namespace": "https://shop.example.org",
    "input": {"columns": ["order", "sku", "pieces", "price", "at"]},
    "values": {
        "quantity": {"from": "pieces", "cast": "int"},
        "unit_price": {"from": "price", "cast": "decimal"},
        "amount": {"multiply": ["quantity", "unit_price"]},
        "moment": {"from": "at", "time": {"format": "iso", "zone": "UTC"}},
    },
    "group": {
        "by": "order",
        "grouping": "contiguous",
        "partial": "keep",
        "values": {"total": {"sum": "amount"}},
    },
    "events": [
        {
            "topic": "orders",
            "per": "group",
            "fields": {
                "order_id": {"first": {"uuid": {"order": "order"}}},
                "order_date": {"min": "moment"},
                "status": {"constant": "placed"},
                "total_amount": "total",
                "payment_method": {"constant": "unknown"},
                "created_at": {"min": "moment"},
                "updated_at": {"min": "moment"},
                "occurred_at": {"min": "moment"},
            },
        },
        {
            "topic": "order_items",
            "fields": {
                "order_item_id": {"uuid": {"item": ["order", "sku"]}},
                "order_id": {"uuid": {"order": "order"}},
                "product_id": {"uuid": {"product": "sku"}},
                "quantity": "quantity",
                "unit_price": "unit_price",
                "created_at": "moment",
                "occurred_at": "moment",
            },
        },
    ],
    "control_totals": {
        "amount": {"line": "amount", "events": {"orders": {"topic": "orders", "field": "total_amount"}}}
    },
}
HEADER = "order,sku,pieces,price,at\n"


def varied(**changes: Any) -> dict[str, Any]:
    """The mapping with values at dotted paths changed (`events__0__topic="x"`); `...` deletes."""
    document = copy.deepcopy(MAPPING)
    for path, value in changes.items():
        *parents, last = [int(step) if step.isdigit() else step for step in path.split("__")]
        place = document
        for step in parents:
            place = place[step] if isinstance(place, list) else place.setdefault(step, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return document


def write_mapping(directory: Path, document: Mapping[str, Any]) -> Path:
    """JSON is YAML, so a mapping made in Python can be written as it is."""
    path = directory / "mapping.yaml"
    path.write_text(json.dumps(document), "utf-8")
    return path


def run(
    directory: Path, content: str | bytes, document: Mapping[str, Any] | None = None, **options: Any
) -> tuple[Account, CollectingSink]:
    """Import one file of this content by a mapping."""
    file = directory / "lines.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    sink = CollectingSink()
    importer = Importer(load_mapping(write_mapping(directory, document or MAPPING)), sink, NOW)
    return importer.run([file], **options), sink

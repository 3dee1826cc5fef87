"""A row of the shop's database and the change events that it gives off. Pure."""

from datetime import datetime
from typing import Any

from schemas.contract import CONTRACTS
from schemas.validate import micros
from sources.generator.randomness import Chance

SOURCE = "generator"
HAS_UPDATED_AT = frozenset(topic for topic, contract in CONTRACTS.items() if "updated_at" in contract.fields)


class Entity:
    """A row with its version. Every change is one event that carries the whole row."""

    __slots__ = ("id", "row", "topic", "version")

    def __init__(self, topic: str, entity_id: str, row: dict[str, Any]) -> None:
        self.topic = topic
        self.id = entity_id
        self.row = row
        self.version = 0

    def event(
        self, chance: Chance, op: str, now: datetime, occurred_at: datetime | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Apply `changes` and return the event.

        The version is the larger of the last one + 1 and the clock in microseconds, as an ingest gives them, so that
        a later run outranks an earlier one. A late event keeps the time at which it happened, `occurred_at`.
        """
        self.row.update(changes)
        when = occurred_at or now
        if self.topic in HAS_UPDATED_AT:
            self.row["updated_at"] = when
        self.version = max(self.version + 1, micros(now))
        return {
            **self.row,
            "event_id": chance.uuid(),
            "op": op,
            "occurred_at": when,
            "version": self.version,
            "source": SOURCE,
        }

"""From the shop's tidy story to an untidy delivery: repeats, disorder, damage, contradictions, as the dials say.

Pure. What two records of one key mean depends on their order, and that is kept: they go to one partition, in the
order in which they are emitted. Only damaged records, which mean nothing, may have another key.
"""

import heapq
from datetime import datetime
from decimal import Decimal
from typing import Any

from sources.codec import EventCodec
from sources.generator.dials import Dials
from sources.generator.emission import Emission, Intent
from sources.generator.malformed import KINDS, MALFORMED, Record
from sources.generator.randomness import Chance
from sources.generator.rule_breaking import break_rule
from sources.generator.stage import Fact

AT_ONCE = 0.6  # of the repeats and contradictions; the others come within the next LATER records
LATER = 3000
# A record that is held back for the next one of its key goes out after so many others at the latest.
LONGEST_HOLD = 2000


class Faults:
    """Delivers facts. `schema_ids` by topic go into the records."""

    def __init__(self, chance: Chance, dials: Dials, codec: EventCodec) -> None:
        self._chance = chance
        self._dials = dials
        self._codec = codec
        self._tidy = dials == Dials.none()
        self._count = 0
        self._held: dict[tuple[str, bytes], tuple[int, Emission]] = {}  # oldest first
        self._planned: list[tuple[int, int, Emission]] = []
        self._plans = 0

    def deliver(self, fact: Fact, far_ahead: datetime) -> list[Emission]:
        """The records that come of one fact, and those that were waiting for their turn."""
        topic, event, late = fact
        key, value = self._codec.encode(topic, event)
        emission = Emission(topic, event, key, value, Intent.LATE if late else Intent.VALID)
        if self._tidy:
            return [emission]
        self._count += 1
        out: list[Emission] = []
        while self._planned and self._planned[0][0] <= self._count:
            out.append(heapq.heappop(self._planned)[2])
        self._release(out)
        self._spoil(emission, far_ahead, out)
        held = self._held.pop((topic, key), None)
        if held is None and self._chance.happens(self._dials.out_of_order):
            self._held[topic, key] = (self._count, emission)
            return out
        self._send(emission, out)
        if held:
            self._send(held[1]._replace(intent=Intent.OUT_OF_ORDER), out)
        return out

    def _release(self, out: list[Emission]) -> None:
        """Let go what waited in vain."""
        while self._held:
            at = next(iter(self._held))
            since, emission = self._held[at]
            if self._count - since < LONGEST_HOLD:
                return
            del self._held[at]
            self._send(emission, out)

    def _spoil(self, good: Emission, far_ahead: datetime, out: list[Emission]) -> None:
        """Damaged and rule-breaking copies, as of a client that sends the good record after them."""
        chance, dials = self._chance, self._dials
        topic, event = good.topic, good.event
        if chance.happens(dials.malformed):
            kind = chance.pick(KINDS[topic])
            record = Record(topic, event, good.key, good.value, self._codec.schema_ids)
            key, value = MALFORMED[kind](chance, record)
            out.append(Emission(topic, None, key, value, Intent.MALFORMED, kind))
        if chance.happens(dials.rule_breaking):
            rule, broken = break_rule(chance, topic, event, far_ahead)
            out.append(
                Emission(topic, broken, *self._codec.encode(topic, broken), Intent.RULE_BREAKING, rule)
            )

    def _send(self, good: Emission, out: list[Emission]) -> None:
        """Deliver a good record, and what repeats or contradicts it."""
        chance, dials = self._chance, self._dials
        out.append(good)
        if good.topic != "clickstream" and chance.happens(dials.conflicts):
            other = contradicting(chance, good.topic, good.event)
            value = self._codec.encode(good.topic, other)[1]
            self._follow(Emission(good.topic, other, good.key, value, Intent.CONFLICT), out)
        if chance.happens(dials.duplicates):
            self._follow(good._replace(intent=Intent.DUPLICATE), out)

    def _follow(self, emission: Emission, out: list[Emission]) -> None:
        if self._chance.happens(AT_ONCE):
            out.append(emission)
            return
        self._plans += 1
        due = self._count + self._chance.randrange(1, LATER)
        heapq.heappush(self._planned, (due, self._plans, emission))


def contradicting(chance: Chance, topic: str, event: dict[str, Any]) -> dict[str, Any]:
    """Another event for the same version of the same entity, with other content. It fits the contract."""
    changes: dict[str, Any] = {
        "customers": lambda: {"city": "Elsewhere"},
        "products": lambda: {"price": event["price"] + 1},
        "orders": lambda: {"total_amount": event["total_amount"] + Decimal("1.50")},
        "order_items": lambda: {"quantity": event["quantity"] + 1},
        "payments": lambda: {"amount": event["amount"] + 1},
        "reviews": lambda: {"rating": event["rating"] % 5 + 1},
    }[topic]()
    return {**event, **changes, "event_id": chance.uuid()}

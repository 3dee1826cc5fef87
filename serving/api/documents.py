"""Counted records as documents, the same over REST and push. Pure."""

from collections.abc import Sequence
from typing import Any

from serving.fold.newest import Counted
from serving.read.reader import iso_micros


def event_documents(found: Sequence[Counted]) -> list[dict[str, Any]]:
    """Counted records as they leave the house."""
    return [
        {
            "topic": each.topic,
            "partition": each.partition,
            "offset": each.offset,
            "verdict": each.verdict,
            "reasons": each.reasons,
            "entity_id": each.entity_id,
            "op": each.op,
            "status": each.status,
            "amount": None if each.amount is None else str(each.amount),
            "occurred_at": None if each.occurred_at is None else iso_micros(each.occurred_at),
            "kafka_time": iso_micros(each.kafka_time),
        }
        for each in found
    ]

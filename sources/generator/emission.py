"""What the generator hands to a producer: one Kafka record, and what is meant by it. Pure values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class Intent(StrEnum):
    """Why the generator emits a record."""

    VALID = "valid"  # the shop's story
    LATE = "late"  # valid, but it happened hours or days ago
    OUT_OF_ORDER = "out_of_order"  # valid, but held back until after the next event of its key
    DUPLICATE = "duplicate"  # the same record once more
    CONFLICT = "conflict"  # an entity's version that was delivered before, with other content
    RULE_BREAKING = "rule_breaking"  # decodes, but breaks a rule of its contract
    MALFORMED = "malformed"  # does not decode, or has no key or no value


class Emission(NamedTuple):
    """One record for a source topic (without the environment's prefix), in production order.

    `event` is None for a malformed record. `detail` names the way in which a record is malformed, or the rule that it
    breaks; it is empty otherwise.
    """

    topic: str
    event: Mapping[str, Any] | None
    key: bytes | None
    value: bytes | None
    intent: Intent
    detail: str = ""

"""Which declarations a batch was made by, and which of them decide what becomes of a record."""

import hashlib

from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.tables import TABLES


def digest() -> str:
    """The same as long as contracts, rules and tables are the same."""
    told = hashlib.sha256()
    for contract in CONTRACTS.values():
        told.update(repr((contract.avro_json, contract.rules)).encode())
    told.update(repr(sorted(TABLES.items())).encode())
    return told.hexdigest()[:16]


def definition(settings: Settings) -> dict[str, str]:
    """What has to stay for all of a lake: by another one the records that are in would have become other rows."""
    decided = {"SHOP_TIMEZONE": settings.shop_timezone, "MAX_EVENT_BYTES": str(settings.max_event_bytes)}
    for contract in CONTRACTS.values():
        rules = sorted((rule.name, rule.expression) for rule in contract.rules if rule.severity == "reject")
        told = repr((contract.key, contract.entity_id, rules)).encode()
        decided[f"rules of {contract.topic}"] = hashlib.sha256(told).hexdigest()[:16]
    return decided

"""Contracts that have changed since a lake was begun: declared anew for one process, under a newer schema id."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS, DIRECTORY, Contract, load_contract
from schemas.tables import RELATIONS, TABLES, bronze, silver, versions
from sources.codec import EventCodec, _parsed
from streams.plain_judge import _reading
from tests.sources.generator_kit import IDS
from tests.streams.lake.shop import KNOWN

TOPICS = ("customers", "orders", "clickstream")  # with a history, keyed, and facts
NEWER = 500  # added to a schema's id
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
TIME = {"type": "long", "logicalType": "timestamp-micros"}
NEW = (("note", "string"), ("fee", MONEY), ("seen_at", TIME))

Change = Callable[[list[dict[str, Any]]], None]


def longer(fields: list[dict[str, Any]]) -> None:
    """Three new columns, not at the end."""
    fields[2:2] = [{"name": name, "type": ["null", kind], "default": None, "doc": name} for name, kind in NEW]


def declared(directory: Path, topic: str, change: Change) -> Contract:
    """The contract of a topic after `change` was done to the list of its fields."""
    if not directory.exists():
        copytree(DIRECTORY / "rules", directory / "rules")
        (directory / "avro").mkdir()
    avro = json.loads((DIRECTORY / "avro" / f"{topic}.avsc").read_text("utf-8"))
    change(avro["fields"])
    (directory / "avro" / f"{topic}.avsc").write_text(json.dumps(avro), "utf-8")
    return load_contract(topic, directory)


def declare_anew(patch: pytest.MonkeyPatch, directory: Path, topic: str, change: Change) -> None:
    """From here on the topic is declared like that, until `patch` is undone and `forget_schemas` was called."""
    contract = declared(directory, topic, change)
    patch.setitem(CONTRACTS, topic, contract)
    tables = [bronze(contract), silver(contract)]
    tables += [versions(contract)] if f"{topic}_versions" in TABLES else []
    for table in tables:
        for known in (TABLES, RELATIONS):
            patch.setitem(known, table.name, table)
    newer = RegisteredSchema(IDS[topic] + NEWER, 2, contract.avro_json)
    patch.setitem(KNOWN, topic, [*KNOWN[topic], newer])
    ids = {name: schemas[-1].schema_id for name, schemas in KNOWN.items()}
    patch.setattr("tests.streams.lake.shop.CODEC", EventCodec(ids))
    forget_schemas()


def forget_schemas() -> None:
    """What was parsed is parsed again."""
    for cached in (_parsed, _reading):
        cached.cache_clear()

"""Versions of a topic's schema that new readers read old records by, each made from the one before. Pure."""

import io
import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import fastavro

from schemas.contract import CONTRACTS

Spec = dict[str, Any]


def _added(spec: Spec, n: int) -> list[Spec]:
    return [spec, {"name": f"extra_{n}", "type": ["null", "string"], "default": None}]


def _defaulted(spec: Spec, n: int) -> list[Spec]:
    return [{**spec, "default": "?"}] if spec["type"] == "string" else []


def _widened(spec: Spec, n: int) -> list[Spec]:
    return [{**spec, "type": "long"}] if spec["type"] == "int" else []


def _made_optional(spec: Spec, n: int) -> list[Spec]:
    return (
        [] if isinstance(spec["type"], list) else [{**spec, "type": ["null", spec["type"]], "default": None}]
    )


def _renamed(spec: Spec, n: int) -> list[Spec]:
    before = [spec["name"], *spec.get("aliases", ())]
    return [{**spec, "name": f"{before[-1]}_{n}", "aliases": before}]


# What each makes of a field; of none, it does not do for that one.
CHANGES: dict[str, Callable[[Spec, int], list[Spec]]] = {
    "added": _added,
    "given a default": _defaulted,
    "widened": _widened,
    "made optional": _made_optional,
    "renamed": _renamed,
}


def next_version(
    topic: str, schema: Mapping[str, Any], n: int, chance: random.Random, had: Collection[str] = ()
) -> tuple[str, dict[str, Any]]:
    """What was changed, and the schema after it: what it has not `had` first. The key stays as it is."""
    fields = schema["fields"]
    possible = [
        (kind, at, changed)
        for kind, change in CHANGES.items()
        for at, spec in enumerate(fields)
        if CONTRACTS[topic].key not in names(spec) and (changed := change(spec, n))
    ]
    kinds = Counter(kind for kind, _, _ in possible)
    lacking = sorted(kinds.keys() - set(had), key=lambda kind: (kinds[kind], kind))
    wanted = lacking[0] if lacking else chance.choice(sorted(kinds))
    kind, at, changed = chance.choice([each for each in possible if each[0] == wanted])
    return kind, {**schema, "fields": [*fields[:at], *changed, *fields[at + 1 :]]}


def names(spec: Mapping[str, Any]) -> list[str]:
    """What the field is and was called."""
    return [spec["name"], *spec.get("aliases", ())]


def encoded(schema: Mapping[str, Any], event: Mapping[str, Any]) -> bytes:
    """The event as a record of the schema, without header; what the contract has not heard of is `x`."""
    record = {
        spec["name"]: next((event[name] for name in names(spec) if name in event), "x")
        for spec in schema["fields"]
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), record)
    return out.getvalue()

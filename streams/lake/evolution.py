"""Declarations that have changed since a lake was begun: what it can take in, and what only a new lake can.

A new column that may be null is added to its table; older rows have nothing there. Whatever would make other rows of
records that are in already is refused, with the way out. Pure.
"""

import json
from collections.abc import Collection, Iterable, Mapping

from deltalake import Field, Schema

from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS
from schemas.errors import ContractError, GenerationError
from schemas.evolution import projection
from schemas.table import ADDED, Table
from schemas.tables import TABLES
from streams.lake.frames import arrow_schema
from streams.lake.manifest import Manifest

NEW_LAKE = "`dataflow generation new` fills a new lake from the beginning of the topics"
WAYS_OUT = f"put it back, or {NEW_LAKE}"


def check(manifest: Manifest, definition: Mapping[str, str]) -> None:
    """Raise GenerationError if what is declared now would make something else of the records that are in.

    `definition` is what decides about a record, see `streams.lake.code`.
    """
    if not manifest.number:
        return
    filled_by = manifest.definition
    if changed := sorted(
        name for name in definition if filled_by.get(name, definition[name]) != definition[name]
    ):
        raise GenerationError(
            f"expected a lake that was filled by what is declared now, and it was by other {', '.join(changed)}: "
            f"{WAYS_OUT}"
        )
    begun = {topic for topic, _ in manifest.until}
    # Of a topic that is new, too, nothing is in yet.
    if late := sorted(
        name
        for name, table in TABLES.items()
        if name not in manifest.tables and (table.topic is None or table.topic in begun)
    ):
        raise GenerationError(
            f"expected a lake with all tables, and it was filled before there were {', '.join(late)}: {NEW_LAKE}"
        )


def new_columns(table: Table, stored: Schema) -> list[Field]:
    """The columns to add to a table. Raises GenerationError if something else than that has changed."""
    declared = {field.name: field for field in Schema.from_arrow(arrow_schema(table)).fields}
    there = {field.name: field for field in stored.fields}
    new = [field for name, field in declared.items() if name not in there]
    changed = [name for name, field in there.items() if _kind(declared.get(name)) != _kind(field)]
    changed += [field.name for field in new if not field.nullable]
    if changed:
        told = "; ".join(
            f"{name} was {_kind(there.get(name))} and is {_kind(declared.get(name))} now" for name in changed
        )
        raise GenerationError(
            f"expected the columns that table {table.name} of the lake has, or more that may be null; {told}: "
            f"{WAYS_OUT}"
        )
    return [Field(each.name, each.type, metadata={**each.metadata, ADDED: "true"}) for each in new]


def bringing(topic: str, columns: Collection[str], schemas: Iterable[RegisteredSchema]) -> list[int]:
    """Ids of the schemas by which records of a topic bring one of these columns."""
    found = []
    for schema in schemas:
        try:
            sources = projection(CONTRACTS[topic], json.loads(schema.avro))
        except (ContractError, ValueError, KeyError, TypeError):
            continue  # its records are refused
        if any(sources.get(name) for name in columns):
            found.append(schema.schema_id)
    return found


def _kind(field: Field | None) -> str:
    if field is None:
        return "not there"
    return f"{getattr(field.type, 'type', field.type)}{' or null' if field.nullable else ''}"

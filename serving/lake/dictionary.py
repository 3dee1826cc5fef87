"""What the declarations of tables and views say to a reader: the data dictionary, and what of it is personal. Pure."""

from typing import Any

from schemas.contract import CONTRACTS
from schemas.table import Column, Table
from schemas.tables import RELATIONS, VERSIONED, versions
from schemas.view import Relation, View

# Bytes as they came hold whatever the record held.
_OPAQUE = ("binary", "headers")
# Where a row comes from names it in a table that has no key.
_PLACES = (("topic", "partition", "offset"), ("partition", "offset"), ("_partition", "_offset"))


def is_personal(column: Column) -> bool:
    """Whether a column may hold personal data."""
    return column.pii or column.type in _OPAQUE


def order_of(table: Relation) -> tuple[str, ...]:
    """The columns that name a row, by which rows are in order."""
    if table.key:
        return table.key
    names = {column.name for column in table.columns}
    return next(place for place in _PLACES if names.issuperset(place))


def identity_of(table: Table) -> tuple[str, ...]:
    """The columns that name a row by what it is, and not by where it came from, as far as there are such."""
    if table.key or table.topic is None:
        return order_of(table)
    contract = CONTRACTS[table.topic]
    if table.topic in VERSIONED and table == versions(contract):
        return contract.entity_id, "version"
    return contract.key, contract.entity_id


def column_of(table: Relation, name: str) -> Column | None:
    return next((column for column in table.columns if column.name == name), None)


def describe(table: Relation) -> dict[str, Any]:
    """A declaration as a document. `reads` and `sql` say how a view follows from tables."""
    view = table if isinstance(table, View) else None
    return {
        "name": table.name,
        "layer": table.layer,
        "doc": table.doc,
        "topic": table.topic,
        "reads": list(view.reads) if view else [],
        "sql": view.sql if view else None,
        "key": list(table.key),
        "order": list(order_of(table)),
        "href": f"/v1/tables/{table.name}",
        "columns": [
            {
                "name": column.name,
                "type": _type(column),
                "nullable": column.nullable,
                "unit": column.unit or None,
                "personal": is_personal(column),
                "doc": column.doc,
                "source": column.source,
            }
            for column in table.columns
        ],
    }


def dictionary() -> list[dict[str, Any]]:
    """All tables and views."""
    return [describe(table) for table in RELATIONS.values()]


def _type(column: Column) -> str:
    return f"decimal({column.precision},{column.scale})" if column.type == "decimal" else column.type

"""The tables of the lake: name, layer, key, and of each column its meaning, type, unit and source. Data only.

Bronze and silver follow from the contracts, a user's own among them; gold is declared in `schemas/gold.py`. Jobs,
checks, REST and the data dictionary read these declarations.
"""

from schemas.contract import CONTRACTS, Contract, Field
from schemas.errors import ContractError
from schemas.gold import GOLD
from schemas.table import Column, Table
from schemas.view import Relation
from schemas.views import VIEWS

PLACE = (
    Column("partition", "int", "Partition of the source topic.", "Kafka"),
    Column("offset", "long", "Offset in that partition.", "Kafka"),
    Column("kafka_time", "timestamp", "When the broker took the record.", "Kafka"),
)
RECORD = (
    Column("key", "binary", "The record's key, as it was.", "Kafka", nullable=True),
    Column("value", "binary", "The record's value, as it was.", "Kafka", nullable=True),
    Column("headers", "headers", "The record's headers, as they were.", "Kafka", nullable=True),
)
SCHEMA_ID = Column(
    "schema_id", "int", "Schema id that the record names.", "its first five bytes", nullable=True
)


ROW_PLACE = (
    Column("_partition", "int", "Partition of the record that the row comes from.", "Kafka"),
    Column("_offset", "long", "Offset of the record that the row comes from.", "Kafka"),
)


def bronze(contract: Contract) -> Table:
    """Every record of a topic, byte for byte."""
    return Table(
        f"raw_{contract.topic}",
        "bronze",
        f"Every record of topic {contract.topic} as it came: the topic can be rebuilt from it.",
        (*PLACE, SCHEMA_ID, *RECORD),
        topic=contract.topic,
    )


def silver(contract: Contract) -> Table:
    """The latest version of each entity, or each fact once."""
    columns = [_column(contract, field) for field in contract.fields.values()]
    columns += ROW_PLACE
    if contract.is_change:
        doc, key = f"{contract.doc} The latest version of each, without the deleted.", (contract.entity_id,)
    else:
        doc, key = f"{contract.doc} Each once, however often it was sent.", ()
    return Table(contract.topic, "silver", doc, tuple(columns), key, contract.topic)


QUARANTINE = Table(
    "quarantine",
    "silver",
    "Every refused record: where it is, why, and its original bytes.",
    (
        Column("topic", "string", "Source topic.", "Kafka"),
        *PLACE,
        SCHEMA_ID,
        Column(
            "reasons", "strings", "The rules that it breaks, or what is wrong with its bytes.", "the judge"
        ),
        *RECORD,
    ),
)


def _column(contract: Contract, field: Field) -> Column:
    unit = field.attributes.get("unit", "") if field.type == "decimal" else ""
    return Column(
        field.name,
        field.type,
        field.doc,
        f"topic {contract.topic}",
        field.nullable,
        unit,
        field.precision,
        field.scale,
        field.pii,
    )


VERSIONED = ("customers", "products")  # topics whose history gold keeps


def versions(contract: Contract) -> Table:
    """Every version of each entity that was accepted, however late it came: what a history is made of."""
    columns = [_column(contract, field) for field in contract.fields.values() if not field.pii]
    return Table(
        f"{contract.topic}_versions",
        "silver",
        f"Every accepted version of {contract.topic}, late ones too, without personal data.",
        (*columns, *ROW_PLACE),
        topic=contract.topic,
    )


SESSIONS = Table(
    "sessions",
    "silver",
    "What a visitor did without a pause of more than 30 minutes. A late event may join two.",
    (
        Column("visitor_id", "string", "The browser or app.", "clickstream"),
        Column("started_at", "timestamp", "Its first event.", "clickstream"),
        Column("ended_at", "timestamp", "Its last event.", "clickstream"),
        *(
            Column(name, "long", doc, "clickstream", unit="count")
            for name, doc in (
                ("events", "Events in all."),
                ("product_views", "Products looked at."),
                ("add_to_carts", "Products put into the cart."),
                ("checkouts", "Checkouts begun."),
                ("purchases", "Purchases."),
            )
        ),
    ),
    ("visitor_id", "started_at"),
)


def _by_name(*tables: Relation) -> dict[str, Relation]:
    names = [table.name for table in tables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ContractError(
            f"expected a name of its own for each table and view of the lake, and there are two of {', '.join(twice)}: "
            "a topic of your own may not be called so, give it another name"
        )
    return dict(zip(names, tables, strict=True))


TABLES: dict[str, Table] = _by_name(
    *(bronze(contract) for contract in CONTRACTS.values()),
    *(silver(contract) for contract in CONTRACTS.values()),
    *(versions(CONTRACTS[topic]) for topic in VERSIONED),
    SESSIONS,
    QUARANTINE,
    *GOLD,
)
# What can be read: the tables, and the views over them.
RELATIONS: dict[str, Relation] = _by_name(*TABLES.values(), *VIEWS.values())

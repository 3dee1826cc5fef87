"""The second computation's own database: what its tables are called and made of.

_all_<topic>      the latest version of each entity, deleted ones too; the view <topic> is without them
<topic>           of facts: each once
<topic>_versions  every accepted version, of topics whose history gold keeps
_both_<topic>     rows that stood or stand, of what has changed since it was forgotten
_refused, _years  refused records with their reasons; the calendar's years
_minutes          how many records of a topic and minute (start in s; `day` in the shop's time zone) had which outcome;
                  `recent`: some of them since it was forgotten what has changed

Topics' rows have a column `_day_<column>` for each time that something is grouped by: the day in the shop's time zone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from schemas.contract import CONTRACTS, Contract
from schemas.metric import Funnel, Metric
from schemas.metrics import METRICS
from schemas.table import Column
from schemas.tables import VERSIONED, silver, versions
from serving.lake.views import quoted, sql_type

BOTH = "_both_"


@dataclass(frozen=True)
class Judged:
    """An accepted record: where it is (`kafka_time` in µs), and its event."""

    partition: int
    offset: int
    kafka_time: int
    event: Mapping[str, Any]


# What dim_date has years for: topic → column.
CALENDAR = {"orders": "order_date", "order_items": "created_at", "clickstream": "occurred_at"}


def dated(contract: Contract) -> list[str]:
    """The time columns of a topic that something is grouped by."""
    found = {m.at for m in METRICS.values() if isinstance(m, Metric | Funnel) and m.of == contract.topic}
    return sorted(found | ({CALENDAR[contract.topic]} if contract.topic in CALENDAR else set()))


def day_column(name: str) -> str:
    return f"_day_{name}"


def create(database: duckdb.DuckDBPyConnection) -> None:
    """The empty tables."""
    for topic, contract in CONTRACTS.items():
        columns = [_ddl(column) for column in silver(contract).columns]
        columns += [f"{quoted(day_column(name))} DATE" for name in dated(contract)]
        ddl = f"({', '.join(columns)})"
        database.execute(f"CREATE TABLE {BOTH}{topic} {ddl}")
        if contract.is_change:
            database.execute(f"CREATE TABLE _all_{topic} {ddl}")
            database.execute(f"CREATE VIEW {topic} AS SELECT * FROM _all_{topic} WHERE op <> 'd'")
        else:
            database.execute(f"CREATE TABLE {topic} {ddl}")
    for topic in VERSIONED:
        table = versions(CONTRACTS[topic])
        database.execute(f"CREATE TABLE {table.name} ({', '.join(map(_ddl, table.columns))})")
    database.execute(
        'CREATE TABLE _refused (topic VARCHAR, partition INTEGER, "offset" BIGINT, reasons VARCHAR[])'
    )
    database.execute("CREATE TABLE _years (y INTEGER)")
    database.execute(
        "CREATE TABLE _minutes (topic VARCHAR, minute BIGINT, outcome VARCHAR, records BIGINT, day DATE, "
        "recent BOOLEAN, PRIMARY KEY (topic, minute, outcome))"
    )


@contextmanager
def rows_of(
    database: duckdb.DuckDBPyConnection,
    schema: pa.Schema,
    rows: Sequence[tuple],
    days: Sequence[tuple[str, list]],
) -> Iterator[None]:
    """Rows of a topic with their days, as the relation `_chunk`."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    table = pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema
    )
    for name, values in days:
        table = table.append_column(name, pa.array(values, pa.date32()))
    database.register("_chunk", table)
    try:
        yield
    finally:
        database.unregister("_chunk")


def _ddl(column: Column) -> str:
    return f"{quoted(column.name)} {sql_type(column)}"

"""What the next batch has to know, read from the tables as the newest manifest has them."""

import polars as pl

from schemas.contract import CONTRACTS
from schemas.gold import (
    CONVERSION_FUNNEL,
    CUSTOMER_COHORTS,
    DAILY_SALES,
    DIM_CUSTOMERS,
    DIM_DATE,
    DIM_PRODUCTS,
    PRODUCT_PERFORMANCE,
    RECORD_OUTCOMES,
)
from schemas.table import BATCH, GONE, Table
from schemas.tables import SESSIONS, TABLES, silver, versions
from streams.lake.batch import Tables, columns_to_know, schema_to_know
from streams.lake.frames import frame_schema
from streams.lake.gold.customers import Customers
from streams.lake.gold.facts import Facts
from streams.lake.gold.funnel import Funnel
from streams.lake.gold.history import History
from streams.lake.gold.sales import Sales
from streams.lake.gold.totals import Totals
from streams.lake.manifest import Manifest
from streams.lake.sessions import Sessions
from streams.lake.store import LakeStore


class Known:
    """Reads the tables at one manifest."""

    def __init__(self, store: LakeStore, manifest: Manifest) -> None:
        self._store, self._manifest = store, manifest

    def tables(self, tz: str) -> Tables:
        """Everything that folds batches, as it was after the manifest's. `tz` is the shop's time zone."""
        known = {topic: self._silver(topic) for topic in CONTRACTS}
        clicks = self._read(TABLES["clickstream"], ["session_id", "event_type", "occurred_at"])
        orders = known["orders"].filter(~pl.col(GONE))
        parts = [
            Sessions(self._rows(SESSIONS)),
            Facts(tz, self._rows(DIM_DATE)),
            Sales(tz, self._rows(DAILY_SALES), self._rows(PRODUCT_PERFORMANCE)),
            Customers(tz, orders, self._rows(CUSTOMER_COHORTS)),
            Funnel(tz, clicks, self._rows(CONVERSION_FUNNEL)),
            *(
                History(CONTRACTS[table.topic], table, self._rows(versions(CONTRACTS[table.topic])))
                for table in (DIM_CUSTOMERS, DIM_PRODUCTS)
            ),
        ]
        return Tables(known, Totals(RECORD_OUTCOMES, self._rows(RECORD_OUTCOMES)), parts)

    def _silver(self, topic: str) -> pl.DataFrame:
        """One row an entity, a deleted one too."""
        contract, table = CONTRACTS[topic], silver(CONTRACTS[topic])
        columns = columns_to_know(contract)
        rows = self._newest(table, columns) if table.is_keyed else self._read(table, columns)
        return rows.select(columns).cast(schema_to_know(contract))

    def _rows(self, table: Table) -> pl.DataFrame:
        """The table as its readers see it."""
        columns = list(frame_schema(table))
        if table.is_keyed:
            rows = self._newest(table, [*columns, GONE]).filter(~pl.col(GONE))
        else:
            rows = self._read(table, columns)
        return rows.select(columns).cast(frame_schema(table))

    def _newest(self, table: Table, columns: list[str]) -> pl.DataFrame:
        rows = self._read(table, [*columns, BATCH])
        return rows.sort(BATCH).unique(list(table.key), keep="last")

    def _read(self, table: Table, columns: list[str]) -> pl.DataFrame:
        return self._store.read(table, self._manifest.tables.get(table.name, 0), columns)

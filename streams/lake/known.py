"""What the next batch has to know, read from the tables as the newest manifest has them."""

from collections.abc import Sequence

import polars as pl

from schemas.contract import CONTRACTS
from schemas.gold import RECORD_OUTCOMES
from schemas.table import BATCH, GONE, Table
from schemas.tables import silver
from streams.lake.batch import Tables, columns_to_know, schema_to_know
from streams.lake.frames import frame_schema
from streams.lake.gold.totals import Totals
from streams.lake.manifest import Manifest
from streams.lake.parts import PARTS
from streams.lake.store import LakeStore


class Known:
    """Reads the tables at one manifest."""

    def __init__(self, store: LakeStore, manifest: Manifest) -> None:
        self._store, self._manifest = store, manifest
        self._found: dict[str, pl.DataFrame] = {}

    def tables(self, tz: str) -> Tables:
        """Everything that folds batches, as it was after the manifest's. `tz` is the shop's time zone."""
        parts = [kept.begin(tz, self) for kept in PARTS]
        known = {topic: self._latest(topic) for topic in CONTRACTS}
        return Tables(known, Totals(RECORD_OUTCOMES, self.rows(RECORD_OUTCOMES)), parts)

    def live(self, topic: str) -> pl.DataFrame:
        """The columns to know of the entities that are not deleted."""
        return self._latest(topic).filter(~pl.col(GONE))

    def rows(self, table: Table, columns: Sequence[str] = ()) -> pl.DataFrame:
        """The table as its readers see it; all its columns if none are named."""
        types = frame_schema(table)
        columns = list(columns or types)
        if table.is_keyed:
            read = [*columns, *(name for name in table.key if name not in columns)]
            rows = self._newest(table, [*read, GONE]).filter(~pl.col(GONE))
        else:
            rows = self._read(table, columns)
        return rows.select(pl.col(name).cast(types[name]) for name in columns)

    def _latest(self, topic: str) -> pl.DataFrame:
        """What is to be known of each entity, a deleted one too; read once."""
        if topic not in self._found:
            self._found[topic] = self._silver(topic)
        return self._found[topic]

    def _silver(self, topic: str) -> pl.DataFrame:
        contract, table = CONTRACTS[topic], silver(CONTRACTS[topic])
        columns = columns_to_know(contract)
        rows = self._newest(table, columns) if table.is_keyed else self._read(table, columns)
        return rows.select(columns).cast(schema_to_know(contract))

    def _newest(self, table: Table, columns: Sequence[str]) -> pl.DataFrame:
        rows = self._read(table, [*columns, BATCH])
        return rows.sort(BATCH).unique(list(table.key), keep="last")

    def _read(self, table: Table, columns: Sequence[str]) -> pl.DataFrame:
        return self._store.read(table, self._manifest.tables.get(table.name, 0), columns)

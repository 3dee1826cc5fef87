"""The dimensions of SCD type 2: the whole history of each entity that a batch touches, anew, in the order of versions.

So a change that arrives late, or out of order, lands where it belongs, and moves the ends of its neighbours.
"""

import polars as pl

from schemas.contract import Contract
from schemas.gold import TRACKED
from schemas.table import Table
from streams.lake.change import Changes, replaced
from streams.lake.index import KeyIndex


def version_columns(contract: Contract) -> list[str]:
    """What has to be known of a version."""
    return [contract.entity_id, "version", "op", "occurred_at", *TRACKED[contract.topic]]


class History:
    """Keeps one dimension; knows every version."""

    def __init__(self, contract: Contract, table: Table, versions: pl.DataFrame) -> None:
        """`versions` are rows of the topic's table of versions."""
        self._contract, self._table = contract, table
        entity = contract.entity_id
        self._index = KeyIndex((entity, "version"), versions.select(version_columns(contract)), by=(entity,))
        self._new: pl.DataFrame | None = None

    def new_versions(self, changes: Changes) -> pl.DataFrame | None:
        """Those of this batch that were not there before; of one that comes twice, the first."""
        change = changes.get(self._contract.topic)
        if change is None or not change.versions.height:
            return None
        key = [self._contract.entity_id, "version"]
        known = self._index.find(change.versions)
        return change.versions.unique(key, keep="first", maintain_order=True).join(known, on=key, how="anti")

    def fold(self, changes: Changes) -> dict[str, pl.DataFrame]:
        new = self.new_versions(changes)
        self._new = None
        if new is None or not new.height:
            return {}
        self._new = new.select(version_columns(self._contract))
        known = self._index.find(new)
        rows = replaced(
            self._table,
            history(self._contract, known),
            history(self._contract, pl.concat([known, self._new])),
        )
        return {f"{self._contract.topic}_versions": new, **({self._table.name: rows} if rows.height else {})}

    def take_in(self) -> None:
        if self._new is not None:
            self._index.put(self._new)


def history(contract: Contract, versions: pl.DataFrame) -> pl.DataFrame:
    """SCD type 2 rows of these entities: one for each run of versions in which no tracked column changes.

    A row begins with its first version and ends where the next one or a deletion begins. A deletion has no row.
    """
    entity, tracked = contract.entity_id, TRACKED[contract.topic]
    deleted = pl.col("op") == "d"
    rows = versions.sort(entity, "version").with_columns(
        pl.col("occurred_at").cum_max().over(entity).alias("valid_from"),
        deleted.alias("_gone"),
        pl.struct(deleted, *tracked).alias("_state"),
    )
    first = pl.col(entity).ne_missing(pl.col(entity).shift(1))
    starts = rows.filter(first | pl.col("_state").ne_missing(pl.col("_state").shift(1)))
    following = pl.col("valid_from").shift(-1).over(entity)
    return (
        starts.with_columns(following.alias("valid_to"))
        .with_columns(pl.col("valid_to").is_null().alias("is_current"))
        .filter(~pl.col("_gone"))
    )

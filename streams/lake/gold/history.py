"""The dimensions of SCD type 2: of each entity that a batch touches, what follows from its versions in their order.

A change that arrives late, or out of order, lands where it belongs, and moves the ends of its neighbours: then the
whole history of the entity is made anew. One behind all that there are, as most are, needs only the last row's
beginning and the last version: its cost follows the batch, however many versions there are.
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
    """Keeps one dimension; knows every version, and apart from them the tail of each entity."""

    def __init__(self, contract: Contract, table: Table, versions: pl.DataFrame) -> None:
        """`versions` are rows of the topic's table of versions."""
        self._contract, self._table = contract, table
        entity, known = contract.entity_id, versions.select(version_columns(contract))
        self._index = KeyIndex((entity, "version"), known, by=(entity,))
        self._tails = KeyIndex((entity,), tails(contract, known))
        self._new: tuple[pl.DataFrame, pl.DataFrame] | None = None  # versions, and the tails that they make

    def fold(self, changes: Changes) -> dict[str, pl.DataFrame]:
        self._new = None
        change = changes.get(self._contract.topic)
        if change is None or not change.versions.height:
            return {}
        entity, columns = self._contract.entity_id, version_columns(self._contract)
        # Of one that comes twice, the first.
        new = change.versions.unique([entity, "version"], keep="first", maintain_order=True)
        last = self._tails.find(new).select(entity, pl.col("version").alias("_last"))
        late = new.join(last, on=entity).filter(pl.col("version") <= pl.col("_last")).select(entity).unique()
        whole = self._index.find(late)
        new = new.join(whole, on=[entity, "version"], how="anti")
        if not new.height:
            return {}
        behind = ends(self._contract, self._tails.find(new).join(late, on=entity, how="anti"))
        known = pl.concat([whole, behind])
        then = pl.concat([known, new.select(columns)])
        rows = replaced(self._table, history(self._contract, known), history(self._contract, then))
        self._new = new.select(columns), tails(self._contract, then)
        return {f"{self._contract.topic}_versions": new, **({self._table.name: rows} if rows.height else {})}

    def take_in(self) -> None:
        if self._new is not None:
            new, tails_then = self._new
            self._index.put(new)
            self._tails.put(tails_then)


def history(contract: Contract, versions: pl.DataFrame) -> pl.DataFrame:
    """SCD type 2 rows of these entities: one for each run of versions in which no tracked column changes.

    A row begins with its first version and ends where the next one or a deletion begins. A deletion has no row.
    """
    following = pl.col("valid_from").shift(-1).over(contract.entity_id)
    return (
        _in_order(contract, versions)
        .filter(pl.col("_begins"))
        .with_columns(following.alias("valid_to"))
        .with_columns(pl.col("valid_to").is_null().alias("is_current"))
        .filter(pl.col("op") != "d")
    )


def tails(contract: Contract, versions: pl.DataFrame) -> pl.DataFrame:
    """One row an entity: its last version, at the latest time so far, and where the run began that this belongs to."""
    entity = contract.entity_id
    begun = pl.col("version", "valid_from").filter(pl.col("_begins")).last()
    return (
        _in_order(contract, versions)
        .group_by(entity)
        .agg(
            pl.col("version", "op", *TRACKED[contract.topic]).last(),
            pl.col("valid_from").last().alias("occurred_at"),
            begun.name.prefix("begun_"),
        )
        .select(*version_columns(contract), "begun_version", "begun_valid_from")
    )


def ends(contract: Contract, found: pl.DataFrame) -> pl.DataFrame:
    """Tails as versions, the first and the last of each run, which for what comes behind them stand for all."""
    columns = version_columns(contract)
    first = found.with_columns(
        pl.col("begun_version").alias("version"), pl.col("begun_valid_from").alias("occurred_at")
    )
    last = found.filter(pl.col("version") != pl.col("begun_version"))
    return pl.concat([first.select(columns), last.select(columns)])


def _in_order(contract: Contract, versions: pl.DataFrame) -> pl.DataFrame:
    """Versions in their order, with the time from which each holds, and whether a run begins with it."""
    entity, tracked = contract.entity_id, TRACKED[contract.topic]
    state = pl.struct(pl.col("op") == "d", *tracked).alias("_state")
    rows = versions.sort(entity, "version").with_columns(
        pl.col("occurred_at").cum_max().over(entity).alias("valid_from"), state
    )
    first = pl.col(entity).ne_missing(pl.col(entity).shift(1))
    begins = first | pl.col("_state").ne_missing(pl.col("_state").shift(1))
    return rows.with_columns(begins.alias("_begins"))

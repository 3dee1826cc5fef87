"""Tables of sums: each batch adds what its new rows give and takes off what its old ones gave."""

import polars as pl

from schemas.table import Table
from streams.lake.change import upserts
from streams.lake.frames import frame_schema
from streams.lake.index import KeyIndex


class Totals:
    """The sums of one keyed table, all columns beside its key."""

    def __init__(self, table: Table, rows: pl.DataFrame) -> None:
        """`rows` as the table has them."""
        self.table = table
        self._key = list(table.key)
        self._measures = [name for name in frame_schema(table) if name not in table.key]
        self._index = KeyIndex(table.key, rows.select(frame_schema(table).keys()))
        self._new: pl.DataFrame | None = None

    def fold(self, deltas: list[pl.DataFrame]) -> dict[str, pl.DataFrame]:
        """The new sums of the keys that `deltas` touch; a measure that a frame lacks is 0 there."""
        types = frame_schema(self.table)
        frames = [
            frame.drop_nulls(self._key).select(
                *(pl.col(name).cast(types[name]) for name in self._key),
                *(
                    (pl.col(name) if name in frame.columns else pl.lit(0)).cast(types[name]).alias(name)
                    for name in self._measures
                ),
            )
            for frame in deltas
        ]
        self._new = None
        if not frames:
            return {}
        change = pl.concat(frames).group_by(self._key).agg(pl.col(name).sum() for name in self._measures)
        change = change.filter(pl.any_horizontal(pl.col(name) != 0 for name in self._measures))
        if not change.height:
            return {}
        total = pl.concat([self._index.find(change), change.select(types.keys()).cast(types)])
        total = total.group_by(self._key).agg(pl.col(name).sum() for name in self._measures).cast(types)
        self._new = total.select(types.keys())
        empty = pl.all_horizontal(pl.col(name) == 0 for name in self._measures)
        return {self.table.name: upserts(self.table, self._new, empty)}

    def take_in(self) -> None:
        if self._new is not None:
            self._index.put(self._new)

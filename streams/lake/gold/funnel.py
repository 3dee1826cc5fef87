"""`conversion_funnel`: each session counts once a stage, on the day of its first event of that stage."""

import polars as pl

from schemas.gold import CONVERSION_FUNNEL
from streams.lake.change import Changes
from streams.lake.frames import UTC
from streams.lake.gold.totals import Totals
from streams.lake.index import KeyIndex

STAGES = tuple(column.name for column in CONVERSION_FUNNEL.columns if column.name != "day")
FIRSTS = {"session_id": pl.String(), **dict.fromkeys(STAGES, UTC)}


class Funnel:
    """Keeps the table; knows each session's first time of each stage."""

    def __init__(self, tz: str, clicks: pl.DataFrame, totals: pl.DataFrame) -> None:
        """`clicks` are silver rows (session_id, event_type, occurred_at)."""
        self._tz = tz
        self._firsts = KeyIndex(("session_id",), first_times(clicks))
        self._totals = Totals(CONVERSION_FUNNEL, totals)
        self._new: pl.DataFrame | None = None

    def fold(self, changes: Changes) -> dict[str, pl.DataFrame]:
        self._new = None
        if "clickstream" not in changes:
            return self._totals.fold([])
        new = first_times(changes["clickstream"].after)
        known = self._firsts.find(new)
        now = pl.concat([known, new]).group_by("session_id").agg(pl.col(stage).min() for stage in STAGES)
        self._new = now.select(FIRSTS.keys())
        return self._totals.fold([self._days(now, 1), self._days(known, -1)])

    def take_in(self) -> None:
        if self._new is not None:
            self._firsts.put(self._new)
        self._totals.take_in()

    def _days(self, firsts: pl.DataFrame, sign: int) -> pl.DataFrame:
        """Sessions by day and stage."""
        long = firsts.unpivot(STAGES, index="session_id", variable_name="stage", value_name="at").drop_nulls(
            "at"
        )
        day = pl.col("at").dt.convert_time_zone(self._tz).dt.date().alias("day")
        return long.select(day, *(((pl.col("stage") == s).cast(pl.Int64) * sign).alias(s) for s in STAGES))


def first_times(clicks: pl.DataFrame) -> pl.DataFrame:
    """Each session's first event of each stage."""
    return clicks.group_by("session_id").agg(
        pl.col("occurred_at").filter(pl.col("event_type") == stage).min().alias(stage) for stage in STAGES
    ).select(FIRSTS.keys()).cast(FIRSTS)  # fmt: skip

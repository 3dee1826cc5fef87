"""`sessions`: the events of a visitor without a pause of more than 30 minutes. A late event may join two."""

from datetime import timedelta

import polars as pl

from schemas.tables import SESSIONS
from streams.lake.change import Changes, replaced
from streams.lake.frames import frame_schema
from streams.lake.index import KeyIndex

GAP = timedelta(minutes=30)
COUNTED = {
    "product_views": "product_view",
    "add_to_carts": "add_to_cart",
    "checkouts": "checkout",
    "purchases": "purchase",
}


class Sessions:
    """Keeps the table."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._index = KeyIndex(SESSIONS.key, rows.select(frame_schema(SESSIONS).keys()), by=("visitor_id",))
        self._now: pl.DataFrame | None = None
        self._known: pl.DataFrame | None = None

    def fold(self, changes: Changes) -> dict[str, pl.DataFrame]:
        self._now = self._known = None
        if "clickstream" not in changes:
            return {}
        new = of_events(changes["clickstream"].after)
        # Lost sessions stay in the index with no events, and join nothing.
        self._known = self._index.find(new).filter(pl.col("events") > 0)
        self._now = joined(pl.concat([self._known, new]))
        rows = replaced(SESSIONS, self._known, self._now)
        return {SESSIONS.name: rows} if rows.height else {}

    def take_in(self) -> None:
        if self._now is None:
            return
        lost = self._known.join(self._now, on=list(SESSIONS.key), how="anti")
        self._index.put(pl.concat([self._now, lost.with_columns(pl.lit(0, pl.Int64).alias("events"))]))


def of_events(clicks: pl.DataFrame) -> pl.DataFrame:
    """Each event as a session of its own."""
    at = pl.col("occurred_at")
    return clicks.select(
        "visitor_id",
        at.alias("started_at"),
        at.alias("ended_at"),
        pl.lit(1, pl.Int64).alias("events"),
        *((pl.col("event_type") == kind).cast(pl.Int64).alias(name) for name, kind in COUNTED.items()),
    )


def joined(sessions: pl.DataFrame) -> pl.DataFrame:
    """Sessions of a visitor that no pause separates, made one."""
    ordered = sessions.sort("visitor_id", "started_at")
    reach = pl.col("ended_at").cum_max().shift(1).over("visitor_id")
    begins = (pl.col("started_at") - reach > GAP).fill_null(True)
    numbered = ordered.with_columns(begins.cast(pl.Int64).cum_sum().alias("_session"))
    return (
        numbered.group_by("visitor_id", "_session")
        .agg(
            pl.col("started_at").min(),
            pl.col("ended_at").max(),
            *(pl.col(name).sum() for name in ("events", *COUNTED)),
        )
        .select(frame_schema(SESSIONS).keys())
        .cast(frame_schema(SESSIONS))
    )

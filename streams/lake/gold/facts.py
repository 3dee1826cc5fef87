"""The fact tables: orders and order lines as they stand, each with its day and what it brings; and the calendar."""

from datetime import date, timedelta

import polars as pl

from schemas.gold import DIM_DATE, FCT_ORDER_ITEMS, FCT_ORDERS
from schemas.table import Table
from streams.lake.change import MONEY, Change, Changes, day_of, upserts
from streams.lake.frames import frame_schema

DATED = {"orders": "order_date", "order_items": "created_at", "clickstream": "occurred_at"}


def order_columns(tz: str) -> list[pl.Expr]:
    """What an order gives, out of its silver row."""
    total = pl.col("total_amount").cast(MONEY)
    zero = pl.lit(0, MONEY)
    cancelled, refunded = (
        pl.when(pl.col("status") == s).then(total).otherwise(zero) for s in ("cancelled", "refunded")
    )
    return [
        day_of("order_date", tz).alias("day"),
        total.alias("gross"),
        cancelled.alias("cancelled"),
        refunded.alias("refunded"),
        (total - cancelled - refunded).alias("net"),
    ]


def item_columns(tz: str) -> list[pl.Expr]:
    """What an order line gives, out of its silver row."""
    price = pl.col("quantity").cast(pl.Decimal(28, 0)) * pl.col("unit_price").cast(MONEY)
    return [
        day_of("created_at", tz).alias("day"),
        pl.col("quantity").cast(pl.Int64).alias("units"),
        (price - pl.col("discount").cast(MONEY)).cast(MONEY).alias("revenue"),
    ]


class Facts:
    """`fct_orders`, `fct_order_items` and `dim_date`."""

    def __init__(self, tz: str, days: pl.DataFrame) -> None:
        """`days` as `dim_date` has them."""
        self._tz = tz
        self._years = set(days["day"].dt.year())
        self._new_years: set[int] = set()

    def fold(self, changes: Changes) -> dict[str, pl.DataFrame]:
        rows = {}
        for topic, table, columns in (
            ("orders", FCT_ORDERS, order_columns(self._tz)),
            ("order_items", FCT_ORDER_ITEMS, item_columns(self._tz)),
        ):
            if topic in changes:
                rows[table.name] = self._facts(table, changes[topic], columns)
        self._new_years = self._seen(changes) - self._years
        if self._new_years:
            rows[DIM_DATE.name] = upserts(DIM_DATE, calendar(sorted(self._new_years)))
        return rows

    def take_in(self) -> None:
        self._years |= self._new_years

    def _seen(self, changes: Changes) -> set[int]:
        """The years in which something happened, by every version that was accepted.

        What stands after a batch would not do: which versions never stand depends on where batches end.
        """
        days = [
            changes[topic].versions.select(day_of(column, self._tz)).to_series()
            for topic, column in DATED.items()
            if topic in changes
        ]
        return {year for each in days for year in each.drop_nulls().dt.year().unique()}

    def _facts(self, table: Table, change: Change, columns: list[pl.Expr]) -> pl.DataFrame:
        key = list(table.key)
        live = upserts(table, change.after.with_columns(columns))
        lost = change.before.join(change.after, on=key, how="anti").with_columns(columns)
        return pl.concat([live, upserts(table, lost, pl.lit(True))])


def calendar(years: list[int]) -> pl.DataFrame:
    """Every day of these years."""
    days = [
        date(year, 1, 1) + timedelta(days=n)
        for year in years
        for n in range((date(year + 1, 1, 1) - date(year, 1, 1)).days)
    ]
    day = pl.col("day")
    return pl.DataFrame({"day": days}, schema={"day": pl.Date}).select(
        day,
        day.dt.year().alias("year"),
        day.dt.quarter().alias("quarter"),
        day.dt.month().alias("month"),
        day.dt.week().alias("iso_week"),
        day.dt.weekday().alias("iso_weekday"),
    ).cast(frame_schema(DIM_DATE))  # fmt: skip

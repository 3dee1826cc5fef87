"""`customer_lifetime_value` and `customer_cohorts`: the orders of each customer that a batch touches, anew."""

import polars as pl

from schemas.gold import CUSTOMER_COHORTS, CUSTOMER_LIFETIME_VALUE
from streams.lake.change import Changes, replaced
from streams.lake.gold.facts import order_columns
from streams.lake.gold.totals import Totals
from streams.lake.index import KeyIndex

ORDER_COLUMNS = ("order_id", "customer_id", "order_date", "gross", "net")


def of_orders(orders: pl.DataFrame, tz: str) -> pl.DataFrame:
    """What has to be known of orders, out of silver rows."""
    return orders.with_columns(order_columns(tz)).select(ORDER_COLUMNS)


class Customers:
    """Keeps both."""

    def __init__(self, tz: str, orders: pl.DataFrame, cohorts: pl.DataFrame) -> None:
        """`orders` are silver rows that are not deleted, `cohorts` those of the table."""
        self._tz = tz
        self._orders = KeyIndex(("order_id",), of_orders(orders, tz), by=("customer_id",))
        self._cohorts = Totals(CUSTOMER_COHORTS, cohorts)
        self._new: pl.DataFrame | None = None

    def fold(self, changes: Changes) -> dict[str, pl.DataFrame]:
        self._new = None
        if "orders" not in changes:
            return self._cohorts.fold([])
        change = changes["orders"]
        before, after = of_orders(change.before, self._tz), of_orders(change.after, self._tz)
        touched = pl.concat([before.select("customer_id"), after.select("customer_id")]).drop_nulls().unique()
        known = self._orders.find(touched)
        changed = pl.concat([before.select("order_id"), after.select("order_id")]).unique()
        now = pl.concat(
            [
                known.join(changed, on="order_id", how="anti"),
                after.join(touched, on="customer_id", how="semi"),
            ]
        )
        # One that is gone stays as nobody's.
        gone = before.join(after, on="order_id", how="anti").with_columns(
            pl.lit(None, pl.String).alias("customer_id")
        )
        self._new = pl.concat([after, gone])
        value = replaced(CUSTOMER_LIFETIME_VALUE, lifetime_value(known), lifetime_value(now))
        cohorts = self._cohorts.fold(
            [
                cohort_months(now, self._tz),
                cohort_months(known, self._tz).with_columns(-pl.col("customers")),
            ]
        )
        return ({CUSTOMER_LIFETIME_VALUE.name: value} if value.height else {}) | cohorts

    def take_in(self) -> None:
        if self._new is not None:
            self._orders.put(self._new)
        self._cohorts.take_in()


def lifetime_value(orders: pl.DataFrame) -> pl.DataFrame:
    """A row for each customer of these orders."""
    return orders.group_by("customer_id").agg(
        pl.len().cast(pl.Int64).alias("orders"),
        pl.col("gross").sum(),
        pl.col("net").sum(),
        pl.col("order_date").min().alias("first_order"),
        pl.col("order_date").max().alias("last_order"),
    )


def cohort_months(orders: pl.DataFrame, tz: str) -> pl.DataFrame:
    """How many of these orders' customers, by the month of the first order, ordered in which month."""
    month = pl.col("order_date").dt.convert_time_zone(tz).dt.date().dt.month_start()
    months = orders.select("customer_id", month.alias("month")).unique()
    months = months.with_columns(pl.col("month").min().over("customer_id").alias("cohort"))
    return months.group_by("cohort", "month").agg(pl.len().cast(pl.Int64).alias("customers"))

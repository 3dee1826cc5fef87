"""`daily_sales` and `product_performance`: sums over order lines, clicks and reviews, by product."""

import polars as pl

from schemas.gold import DAILY_SALES, PRODUCT_PERFORMANCE
from streams.lake.change import Changes, signed
from streams.lake.gold.facts import item_columns
from streams.lake.gold.totals import Totals


class Sales:
    """Keeps both."""

    def __init__(self, tz: str, daily: pl.DataFrame, products: pl.DataFrame) -> None:
        self._tz = tz
        self._daily, self._products = Totals(DAILY_SALES, daily), Totals(PRODUCT_PERFORMANCE, products)

    def fold(self, changes: Changes) -> dict[str, pl.DataFrame]:
        daily, products = [], []
        if "order_items" in changes:
            columns = [pl.col("product_id"), *item_columns(self._tz)]
            rows = signed(changes["order_items"], columns).with_columns(
                pl.col("sign").alias("lines"),
                pl.col("units") * pl.col("sign"),
                pl.when(pl.col("sign") > 0).then(pl.col("revenue")).otherwise(-pl.col("revenue")),
            )
            daily.append(rows)
            products.append(rows)
        if "clickstream" in changes:
            clicks = changes["clickstream"].after
            products.append(
                clicks.select(
                    "product_id",
                    (pl.col("event_type") == "product_view").alias("views"),
                    (pl.col("event_type") == "add_to_cart").alias("cart_adds"),
                )
            )
        if "reviews" in changes:
            stars = signed(changes["reviews"], [pl.col("product_id"), pl.col("rating")])
            products.append(
                stars.select(
                    "product_id",
                    pl.col("sign").alias("reviews"),
                    (pl.col("rating").cast(pl.Int64) * pl.col("sign")).alias("stars"),
                )
            )
        return self._daily.fold(daily) | self._products.fold(products)

    def take_in(self) -> None:
        self._daily.take_in()
        self._products.take_in()

"""Which part keeps which tables beyond silver, and what each has to know to go on. Data only.

Who adds a gold table adds its part here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from schemas.contract import CONTRACTS
from schemas.gold import (
    CONVERSION_FUNNEL,
    CUSTOMER_COHORTS,
    CUSTOMER_LIFETIME_VALUE,
    DAILY_SALES,
    DIM_CUSTOMERS,
    DIM_DATE,
    DIM_PRODUCTS,
    FCT_ORDER_ITEMS,
    FCT_ORDERS,
    PRODUCT_PERFORMANCE,
)
from schemas.table import Table
from schemas.tables import SESSIONS, TABLES, versions
from streams.lake.change import Part
from streams.lake.gold.customers import Customers
from streams.lake.gold.facts import Facts
from streams.lake.gold.funnel import Funnel
from streams.lake.gold.history import History
from streams.lake.gold.sales import Sales
from streams.lake.sessions import Sessions

CLICKS = ("session_id", "event_type", "occurred_at")


class Rows(Protocol):
    """What was there before."""

    def rows(self, table: Table, columns: Sequence[str] = ()) -> pl.DataFrame:
        """A table as its readers see it; all its columns if none are named."""

    def live(self, topic: str) -> pl.DataFrame:
        """What `Tables` knows of the entities of a topic that are not deleted."""


@dataclass(frozen=True)
class Kept:
    """`tables` follow from the rows of these topics as they stand, or where `past` is set from all their versions.

    `begin` makes the part, for the shop's time zone and what was there before. Whatever else it keeps does not follow
    from what stands.
    """

    tables: Mapping[str, tuple[str, ...]]
    begin: Callable[[str, Rows], Part]
    past: Table | None = None


def _history(table: Table) -> Kept:
    contract = CONTRACTS[table.topic]
    past = versions(contract)
    return Kept(
        {table.name: (contract.topic,)}, lambda _, known: History(contract, table, known.rows(past)), past
    )


PARTS = (
    Kept({SESSIONS.name: ("clickstream",)}, lambda _, known: Sessions(known.rows(SESSIONS))),
    Kept(
        {FCT_ORDERS.name: ("orders",), FCT_ORDER_ITEMS.name: ("order_items",)},
        lambda tz, known: Facts(tz, known.rows(DIM_DATE)),
    ),
    Kept(
        {
            DAILY_SALES.name: ("order_items",),
            PRODUCT_PERFORMANCE.name: ("order_items", "clickstream", "reviews"),
        },
        lambda tz, known: Sales(tz, known.rows(DAILY_SALES), known.rows(PRODUCT_PERFORMANCE)),
    ),
    Kept(
        {CUSTOMER_LIFETIME_VALUE.name: ("orders",), CUSTOMER_COHORTS.name: ("orders",)},
        lambda tz, known: Customers(tz, known.live("orders"), known.rows(CUSTOMER_COHORTS)),
    ),
    Kept(
        {CONVERSION_FUNNEL.name: ("clickstream",)},
        lambda tz, known: Funnel(
            tz, known.rows(TABLES["clickstream"], CLICKS), known.rows(CONVERSION_FUNNEL)
        ),
    ),
    _history(DIM_CUSTOMERS),
    _history(DIM_PRODUCTS),
)
# Those that can be made anew out of what a lake has, without judging its records again.
DERIVED = tuple(name for kept in PARTS for name in kept.tables)
# What the parts look at of facts, whose rows are wide.
FACT_COLUMNS = {"clickstream": (*CLICKS, "visitor_id", "product_id")}

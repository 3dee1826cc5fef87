"""The views of the lake: what is asked of gold again and again, as SQL. `serving/lake/views.py` creates them.

Nothing is stored: a view shows the tables of the manifest that it is read at. REST, the commands and the data
dictionary read these declarations.
"""

from schemas.fact_views import FACT_VIEWS
from schemas.gold import (
    CUSTOMER_COHORTS,
    CUSTOMER_LIFETIME_VALUE,
    DAILY_SALES,
    DIM_PRODUCTS,
    FCT_ORDER_ITEMS,
    FCT_ORDERS,
    PRODUCT_PERFORMANCE,
)
from schemas.table import Column, Table
from schemas.view import View


def _money(name: str, doc: str, source: str, nullable: bool = False) -> Column:
    # As wide as a sum of money is.
    return Column(name, "decimal", doc, source, nullable, "money", 38, 2)


def _count(name: str, doc: str, source: str, unit: str = "count") -> Column:
    return Column(name, "long", doc, source, unit=unit)


def _ratio(name: str, doc: str, source: str) -> Column:
    return Column(name, "decimal", f"{doc} Half-even to 6 places.", source, True, "ratio", 18, 6)


_WEEK = Column("week", "date", "Monday of the ISO 8601 week, in the shop's time zone.", "day")
_MONTH = Column("month", "date", "First day of the month, in the shop's time zone.", "day")
_COUNTRY = Column(
    "country",
    "string",
    "Where the order goes, ISO 3166 alpha-2; 'unknown' until that is known.",
    "fct_orders.shipping_country",
)

# --- sales: what was ordered


def _sales(by: str, column: Column, expression: str, source: str, reads: tuple[Table, ...]) -> View:
    lines = "count(*)" if FCT_ORDER_ITEMS in reads else "sum(lines)::BIGINT"
    return View(
        f"sales_by_{by}",
        f"What was ordered, by {by}. Cancellations are not taken off. Where nothing was, there is no row.",
        (
            column,
            _count("lines", "Order lines.", reads[0].name),
            _count("units", "Pieces.", reads[0].name),
            _money("revenue", "Pieces times price less discount.", reads[0].name),
        ),
        (column.name,),
        tuple(table.name for table in reads),
        f"""SELECT {expression} AS {column.name}, {lines} AS lines, sum(units)::BIGINT AS units, sum(revenue) AS revenue
FROM {source}
GROUP BY 1""",
    )


_CATEGORY = Column(
    "category",
    "string",
    "The product's current category; 'unknown' until that is known, and once the product is deleted.",
    "dim_products",
)
_SALES = (
    _sales("week", _WEEK, "date_trunc('week', day)::DATE", "daily_sales", (DAILY_SALES,)),
    _sales("month", _MONTH, "date_trunc('month', day)::DATE", "daily_sales", (DAILY_SALES,)),
    _sales(
        "category",
        _CATEGORY,
        "coalesce(p.category, 'unknown')",
        "daily_sales s LEFT JOIN dim_products p ON p.product_id = s.product_id AND p.is_current",
        (DAILY_SALES, DIM_PRODUCTS),
    ),
    _sales(
        "country",
        _COUNTRY,
        "coalesce(o.shipping_country, 'unknown')",
        "fct_order_items i LEFT JOIN fct_orders o ON o.order_id = i.order_id",
        (FCT_ORDER_ITEMS, FCT_ORDERS),
    ),
)

# --- revenue: what customers owe, and what was given back


def _revenue(column: Column, expression: str) -> View:
    return View(
        f"revenue_by_{column.name}",
        f"What customers owe for their orders, and what was given back, by {column.name}. "
        "Where nobody ordered, there is no row.",
        (
            column,
            _count("orders", "Orders, whatever became of them.", "fct_orders"),
            *(
                _money(name, doc, "fct_orders")
                for name, doc in (
                    ("gross", "Their totals."),
                    ("cancelled", "The totals of the cancelled."),
                    ("refunded", "The totals of the refunded."),
                    ("net", "gross less cancelled less refunded."),
                )
            ),
            _money("average_order_value", "gross / orders, half-even to 2 places.", "derived", nullable=True),
        ),
        (column.name,),
        ("fct_orders",),
        f"""SELECT {expression} AS {column.name}, count(*) AS orders, sum(gross) AS gross, sum(cancelled) AS cancelled,
    sum(refunded) AS refunded, sum(net) AS net, major(half_even(minor(sum(gross)), count(*))) AS average_order_value
FROM fct_orders
GROUP BY 1""",
    )


_DAY = Column("day", "date", "Day of the order, in the shop's time zone.", "fct_orders")
_REVENUE = (
    _revenue(_DAY, "day"),
    _revenue(_WEEK, "date_trunc('week', day)::DATE"),
    _revenue(_MONTH, "date_trunc('month', day)::DATE"),
    _revenue(_COUNTRY, "coalesce(shipping_country, 'unknown')"),
)

# --- products and customers

_PRODUCT_RATES = View(
    "product_rates",
    "product_performance with what follows from it: margin and rates. A rate of nothing is null.",
    (
        *PRODUCT_PERFORMANCE.columns,
        Column("name", "string", "The product's current name, if it is known.", "dim_products", True),
        Column("category", "string", "Its current category, if it is known.", "dim_products", True),
        _money(
            "margin",
            "Revenue less what the pieces cost, each at the current cost; null where no cost is known.",
            "revenue, units, dim_products.cost",
            nullable=True,
        ),
        _ratio("cart_rate", "Times put into a cart for each view.", "cart_adds / views"),
        _ratio("conversion", "Order lines for each view.", "lines / views"),
        _ratio("rating", "Mean of the stars.", "stars / reviews"),
    ),
    PRODUCT_PERFORMANCE.key,
    ("product_performance", "dim_products"),
    """SELECT p.*, d.name, d.category, (p.revenue - p.units * d.cost)::DECIMAL(38, 2) AS margin,
    ratio(p.cart_adds, p.views) AS cart_rate, ratio(p.lines, p.views) AS conversion, ratio(p.stars, p.reviews) AS rating
FROM product_performance p
LEFT JOIN dim_products d ON d.product_id = p.product_id AND d.is_current""",
    "product_performance",
)

# Of the margin multiple, which they make 2.5. Assumptions, not estimates: no shop's own figures are behind them.
RETENTION_PERCENT, DISCOUNT_PERCENT = 80, 12
YEAR_DAYS = 365

_CUSTOMER_VALUE = View(
    "customer_value",
    "customer_lifetime_value with what follows from it: the mean order, how long they have been customers, and what "
    "they may still bring.",
    (
        *CUSTOMER_LIFETIME_VALUE.columns,
        _money("average_order_value", "gross / orders, half-even to 2 places.", "derived", nullable=True),
        _count(
            "tenure_days",
            "Whole days (24 hours) from their first order to the newest order of anybody.",
            "first_order, fct_orders.order_date",
            unit="days",
        ),
        _money(
            "predicted_value",
            "What they may still bring, at today's worth: net a year x r / (1 + i - r), the margin multiple of S. "
            "Gupta and D. R. Lehmann, Customers as Assets, Journal of Interactive Marketing 17(1), 2003, "
            "doi:10.1002/dir.10045, for a constant margin and a constant retention without end. Retention r is "
            f"{RETENTION_PERCENT} % and discount i {DISCOUNT_PERCENT} % a year. Net a year is net x {YEAR_DAYS} / "
            "tenure_days, with a tenure of a year at least. It is of net revenue, not of profit, and does not see how "
            "long ago the last order was. Half-even to 2 places.",
            "net, tenure_days",
        ),
    ),
    CUSTOMER_LIFETIME_VALUE.key,
    ("customer_lifetime_value", "fct_orders"),
    f"""WITH newest AS (SELECT max(order_date) AS order_date FROM fct_orders),
tenure AS (
    SELECT c.*, (epoch_us(newest.order_date) - epoch_us(c.first_order)) // 86400000000 AS tenure_days
    FROM customer_lifetime_value c, newest
)
SELECT * EXCLUDE (tenure_days), major(half_even(minor(gross), orders)) AS average_order_value, tenure_days,
    major(half_even(
        minor(net) * {YEAR_DAYS * RETENTION_PERCENT},
        greatest(tenure_days, {YEAR_DAYS}) * {100 + DISCOUNT_PERCENT - RETENTION_PERCENT}
    )) AS predicted_value
FROM tenure""",
    "customer_lifetime_value",
)

_RETENTION = View(
    "retention_by_cohort",
    "Which share of the customers of each month of first order ordered again so many months later, up to the newest "
    "month in which a known customer ordered; 0 where nobody did. Orders without a customer are not in it.",
    (
        CUSTOMER_COHORTS.columns[0],
        Column("months_since", "int", "Months since that month; 0 is that month itself.", "month"),
        _count("customers", "Customers of the cohort with an order in that month.", "customer_cohorts"),
        _count("cohort_size", "Customers of the cohort.", "customer_cohorts"),
        _ratio("retention", "customers / cohort_size.", "derived"),
    ),
    ("cohort", "months_since"),
    ("customer_cohorts",),
    """WITH newest AS (SELECT max(month) AS month FROM customer_cohorts),
cohorts AS (
    SELECT cohort, customers AS cohort_size,
        unnest(range(date_diff('month', cohort, newest.month) + 1))::INTEGER AS months_since
    FROM customer_cohorts, newest
    WHERE customer_cohorts.month = cohort
)
SELECT c.cohort, c.months_since, coalesce(m.customers, 0) AS customers, c.cohort_size,
    ratio(coalesce(m.customers, 0), c.cohort_size) AS retention
FROM cohorts c
LEFT JOIN customer_cohorts m ON m.cohort = c.cohort AND m.month = (c.cohort + to_months(c.months_since))::DATE""",
)

VIEWS: dict[str, View] = {
    view.name: view
    for view in (
        *_SALES,
        *_REVENUE,
        *FACT_VIEWS,
        _PRODUCT_RATES,
        _CUSTOMER_VALUE,
        _RETENTION,
    )
}

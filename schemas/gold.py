"""The gold tables: what each says and means. `streams/lake/gold` fills them, `replay/verify` computes them again."""

from schemas.table import Column, Table


def _money(name: str, doc: str, source: str) -> Column:
    return Column(name, "decimal", doc, source, unit="money", precision=28, scale=2)


def _count(name: str, doc: str, source: str) -> Column:
    return Column(name, "long", doc, source, unit="count")


_HISTORY = (
    Column("version", "long", "Version with which the row begins.", "version"),
    Column(
        "valid_from", "timestamp", "When it began to be so, never before the row before it.", "occurred_at"
    ),
    Column(
        "valid_to", "timestamp", "When it ceased to be so; null if it has not.", "occurred_at", nullable=True
    ),
    Column("is_current", "boolean", "The last row of what still exists.", "derived"),
)
# What a change of is a new row. Stock and the row's own time of change move all the time and are left out.
TRACKED = {
    "customers": ("country", "created_at"),
    "products": ("name", "category", "subcategory", "price", "cost", "sku", "created_at"),
}

DIM_CUSTOMERS = Table(
    "dim_customers",
    "gold",
    "Customers as they were and are (SCD type 2), without personal data; a deletion closes the last row.",
    (
        Column("customer_id", "string", "Identity of the customer.", "customers"),
        Column("country", "string", "Country, ISO 3166 alpha-2.", "customers", nullable=True),
        Column("created_at", "timestamp", "When the customer signed up.", "customers"),
        *_HISTORY,
    ),
    ("customer_id", "version"),
    "customers",
)

DIM_PRODUCTS = Table(
    "dim_products",
    "gold",
    "Products as they were and are (SCD type 2), price history among it; a deletion closes the last row.",
    (
        Column("product_id", "string", "Identity of the product.", "products"),
        Column("name", "string", "Name.", "products"),
        Column("category", "string", "Category.", "products"),
        Column("subcategory", "string", "Subcategory.", "products", nullable=True),
        Column("price", "decimal", "Price.", "products", unit="money", precision=10, scale=2),
        Column("cost", "decimal", "Cost.", "products", nullable=True, unit="money", precision=10, scale=2),
        Column("sku", "string", "Stock keeping unit.", "products"),
        Column("created_at", "timestamp", "When the product came on sale.", "products"),
        *_HISTORY,
    ),
    ("product_id", "version"),
    "products",
)

DIM_DATE = Table(
    "dim_date",
    "gold",
    "Every day of the years that have orders, order lines or clicks.",
    (
        Column("day", "date", "The day, in the shop's time zone.", "derived"),
        Column("year", "int", "Year.", "derived"),
        Column("quarter", "int", "Quarter, 1 to 4.", "derived"),
        Column("month", "int", "Month, 1 to 12.", "derived"),
        Column(
            "iso_week",
            "int",
            "ISO 8601 week; the first and last days of a year may be in one of another year.",
            "derived",
        ),
        Column("iso_weekday", "int", "1 Monday to 7 Sunday.", "derived"),
    ),
    ("day",),
)

FCT_ORDERS = Table(
    "fct_orders",
    "gold",
    "Orders as they stand, with what they bring.",
    (
        Column("order_id", "string", "Identity of the order.", "orders"),
        Column("customer_id", "string", "Who ordered; null for a guest.", "orders", nullable=True),
        Column("order_date", "timestamp", "When it was placed.", "orders"),
        Column("day", "date", "Day of the order, in the shop's time zone.", "order_date"),
        Column("status", "string", "Where it stands.", "orders"),
        Column("payment_method", "string", "How it is paid.", "orders"),
        Column("shipping_country", "string", "Where it goes.", "orders", nullable=True),
        _money("gross", "Its total.", "total_amount"),
        _money("cancelled", "Its total if it is cancelled.", "total_amount, status"),
        _money("refunded", "Its total if it is refunded.", "total_amount, status"),
        _money("net", "gross less cancelled less refunded.", "derived"),
    ),
    ("order_id",),
    "orders",
)

FCT_ORDER_ITEMS = Table(
    "fct_order_items",
    "gold",
    "Order lines as they stand. Cancellations of their orders are not taken off.",
    (
        Column("order_item_id", "string", "Identity of the line.", "order_items"),
        Column("order_id", "string", "Its order, which may come later.", "order_items"),
        Column("product_id", "string", "What was ordered.", "order_items"),
        Column("created_at", "timestamp", "When it was ordered.", "order_items"),
        Column("day", "date", "That day, in the shop's time zone.", "created_at"),
        _count("units", "Pieces.", "quantity"),
        _money("unit_price", "Price of one.", "order_items"),
        _money("discount", "Taken off the line.", "order_items"),
        _money("revenue", "Pieces times price less discount.", "derived"),
    ),
    ("order_item_id",),
    "order_items",
)

DAILY_SALES = Table(
    "daily_sales",
    "gold",
    "What was ordered, by day and product. Cancellations and refunds are not taken off.",
    (
        Column("day", "date", "Day, in the shop's time zone.", "order_items.created_at"),
        Column("product_id", "string", "Product.", "order_items"),
        _count("lines", "Order lines.", "order_items"),
        _count("units", "Pieces.", "quantity"),
        _money("revenue", "Pieces times price less discount.", "order_items"),
    ),
    ("day", "product_id"),
)

PRODUCT_PERFORMANCE = Table(
    "product_performance",
    "gold",
    "What each product brings: sales, interest, stars. Cancellations and refunds are not taken off; view product_rates "
    "has margin and rates.",
    (
        Column("product_id", "string", "Product.", "order_items, clickstream, reviews"),
        _count("lines", "Order lines.", "order_items"),
        _count("units", "Pieces ordered.", "order_items"),
        _money("revenue", "Pieces times price less discount.", "order_items"),
        _count("views", "Times it was looked at.", "clickstream"),
        _count("cart_adds", "Times it was put into a cart.", "clickstream"),
        _count("reviews", "Reviews.", "reviews"),
        _count("stars", "Sum of the ratings.", "reviews"),
    ),
    ("product_id",),
)

CUSTOMER_LIFETIME_VALUE = Table(
    "customer_lifetime_value",
    "gold",
    "What each customer has brought so far. Guests' orders are nobody's. View customer_value has tenure and what they "
    "may still bring.",
    (
        Column("customer_id", "string", "Customer.", "orders"),
        _count("orders", "Orders, whatever became of them.", "orders"),
        _money("gross", "Their totals.", "orders"),
        _money("net", "Less what was cancelled or refunded.", "orders"),
        Column("first_order", "timestamp", "Their first.", "order_date"),
        Column("last_order", "timestamp", "Their last.", "order_date"),
    ),
    ("customer_id",),
)

CONVERSION_FUNNEL = Table(
    "conversion_funnel",
    "gold",
    "Sessions that reached each stage, each on the day of its first event of that stage.",
    (
        Column("day", "date", "Day, in the shop's time zone.", "clickstream"),
        *(
            _count(stage, f"Sessions whose first {stage} was that day.", "clickstream")
            for stage in ("product_view", "add_to_cart", "checkout", "purchase")
        ),
    ),
    ("day",),
)

CUSTOMER_COHORTS = Table(
    "customer_cohorts",
    "gold",
    "Of the customers whose first order was in a month, how many ordered in each month since.",
    (
        Column(
            "cohort", "date", "First day of the month of the first order, in the shop's time zone.", "orders"
        ),
        Column("month", "date", "First day of the month looked at.", "orders"),
        _count("customers", "Customers of the cohort with an order in that month.", "orders"),
    ),
    ("cohort", "month"),
)

RECORD_OUTCOMES = Table(
    "record_outcomes",
    "gold",
    "What became of the records that the broker took in a minute: their numbers, by topic.",
    (
        Column("topic", "string", "Source topic.", "Kafka"),
        Column("minute", "timestamp", "Start of the minute.", "Kafka"),
        _count("records", "Records in all.", "the judge"),
        _count("changed", "Those that changed something.", "the judge, version"),
        _count("repeat", "Those that had come before.", "event_id, version"),
        _count("superseded", "Those of a version that was no longer the newest.", "version"),
        _count("refused", "Those that are in quarantine.", "the judge"),
    ),
    ("topic", "minute"),
)

GOLD = (
    DIM_CUSTOMERS,
    DIM_PRODUCTS,
    DIM_DATE,
    FCT_ORDERS,
    FCT_ORDER_ITEMS,
    DAILY_SALES,
    PRODUCT_PERFORMANCE,
    CUSTOMER_LIFETIME_VALUE,
    CONVERSION_FUNNEL,
    CUSTOMER_COHORTS,
    RECORD_OUTCOMES,
)

"""Every metric, declared once: the shop's here, the user's own in the directory that DATAFLOW_CONTRACTS names.

To add one to the shop, add a declaration here. The live fold, the REST route, its documentation, the page's data and
the equality test against the generator's ground truth follow from it.
"""

from schemas import extension
from schemas.contract import OWN_DIRECTORY
from schemas.metric import (
    Active,
    AnyMetric,
    Count,
    Derived,
    Dimension,
    Funnel,
    Metric,
    Rollup,
    Sum,
    Verdicts,
)
from schemas.metric_check import check_all

PRODUCTS = Dimension("products", of="products", attributes=("name", "category", "price"))

REVENUE = Metric(
    name="revenue",
    doc="What customers owe for their orders, and what was given back, at the time of the order.",
    of="orders",
    at="order_date",
    by=("payment_method", "shipping_country"),
    measures=(
        Sum("gross", "total_amount", "Sum of the orders' totals, whatever became of them."),
        Sum("cancelled", "total_amount", "Total of cancelled orders.", where="status = 'cancelled'"),
        Sum("refunded", "total_amount", "Total of refunded orders.", where="status = 'refunded'"),
        Count("orders", "Orders placed."),
    ),
    derived=(
        Derived(
            "net", "gross - cancelled - refunded", "What remains after cancellations and refunds.", "money"
        ),
        Derived("average_order_value", "gross / orders", "Gross revenue per order.", "money"),
    ),
)

ITEMS = Metric(
    name="items",
    doc="What was ordered, by product: units and revenue of order items. Cancellations are not taken off.",
    of="order_items",
    at="created_at",
    by=("product_id",),
    measures=(
        Sum("revenue", "quantity * unit_price - discount", "Price times quantity less discount."),
        Sum("units", "quantity", "Pieces ordered.", unit="count"),
        Count("lines", "Order lines."),
    ),
    rollups=(Rollup("category", through="product_id", dimension="products"),),
)

PAYMENTS = Metric(
    name="payments",
    doc="Attempts to pay and what came of them.",
    of="payments",
    at="created_at",
    by=("payment_method",),
    measures=(
        Count("succeeded", "Payments that went through.", where="payment_status = 'succeeded'"),
        Count("failed", "Payments that failed.", where="payment_status = 'failed'"),
        Count("pending", "Payments without an answer yet.", where="payment_status = 'pending'"),
        Count("refunded", "Payments given back.", where="payment_status = 'refunded'"),
        Sum(
            "paid",
            "amount",
            "Amount of the payments that went through.",
            where="payment_status = 'succeeded'",
        ),
    ),
    derived=(
        Derived(
            "success_rate",
            "succeeded / (succeeded + failed)",
            "Share of answered attempts that went through.",
            "ratio",
        ),
    ),
)

CUSTOMERS = Metric(
    name="customers",
    doc="New customers, by country.",
    of="customers",
    at="created_at",
    by=("country",),
    measures=(Count("new_customers", "Customers who signed up."),),
)

REVIEWS = Metric(
    name="reviews",
    doc="Reviews and their stars, by product.",
    of="reviews",
    at="created_at",
    by=("product_id",),
    measures=(
        Count("reviews", "Reviews written."),
        Sum("stars", "rating", "Sum of the ratings.", unit="count"),
    ),
    derived=(Derived("average_rating", "stars / reviews", "Mean rating, 1 to 5.", "ratio"),),
    rollups=(Rollup("category", through="product_id", dimension="products"),),
)

FUNNEL = Funnel(
    name="funnel",
    doc="Distinct sessions that reached each stage, each in the bucket of its first event of that stage.",
    of="clickstream",
    at="occurred_at",
    key="session_id",
    stage="event_type",
    stages=("product_view", "add_to_cart", "checkout", "purchase"),
    derived=(
        Derived(
            "conversion", "purchase / product_view", "Purchases per session that viewed a product.", "ratio"
        ),
    ),
)

CLICKS = Metric(
    name="clicks",
    doc="What visitors do, by kind of event and device.",
    of="clickstream",
    at="occurred_at",
    by=("event_type", "device"),
    measures=(Count("events", "Clickstream events."),),
)

ACTIVE = Active(
    name="active",
    doc="Sessions and visitors with an event in the 30 minutes up to now; a clock that is ahead does not move that.",
    of="clickstream",
    at="occurred_at",
    keys={"sessions": "session_id", "visitors": "visitor_id"},
    within_micros=30 * 60 * 1_000_000,
)

EVENTS = Verdicts(
    name="events",
    doc="Source records by the minute in which the broker took them, and what was decided about each.",
    measures=(
        Count("records", "Records judged."),
        Count("changed", "Applied, and they changed the state."),
        Count("repeat", "Applied without effect: this event or version had been applied before."),
        Count("superseded", "Applied without effect: a newer version had been applied before."),
        Count("refused", "Refused: they are in the dead letters, with a reason."),
    ),
    derived=(Derived("error_rate", "refused / records", "Share of records that were refused.", "ratio"),),
)

_own_file, OWN_METRICS, _own_dimensions = extension.own_declarations(OWN_DIRECTORY)
SHOP_DIMENSIONS = (PRODUCTS,)
SHOP_METRICS = (REVENUE, ITEMS, PAYMENTS, CUSTOMERS, REVIEWS, FUNNEL, CLICKS, ACTIVE, EVENTS)

check_all(SHOP_METRICS, SHOP_DIMENSIONS, file="schemas/metrics.py")
check_all(OWN_METRICS, _own_dimensions, SHOP_METRICS, SHOP_DIMENSIONS, file=str(_own_file))
DIMENSIONS: dict[str, Dimension] = {d.name: d for d in (*SHOP_DIMENSIONS, *_own_dimensions)}
METRICS: dict[str, AnyMetric] = {m.name: m for m in (*SHOP_METRICS, *OWN_METRICS)}

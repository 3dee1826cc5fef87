"""Gold and sessions again: plain SQL in DuckDB over the oracle's rows, each table whole and in one query.

Written apart from the code that keeps the tables: that adds what a batch changes, this counts everything anew.
"""

from schemas.contract import CONTRACTS
from schemas.gold import TRACKED
from schemas.tables import VERSIONED

# Of a time that rows are grouped by, `_day_<column>` is the day in the shop's time zone.
_QUERIES = {
    "fct_orders": """
        SELECT order_id, customer_id, order_date, _day_order_date, status, payment_method, shipping_country,
            total_amount, if(status = 'cancelled', total_amount, 0), if(status = 'refunded', total_amount, 0),
            if(status IN ('cancelled', 'refunded'), 0, total_amount)
        FROM orders""",
    "fct_order_items": """
        SELECT order_item_id, order_id, product_id, created_at, _day_created_at, quantity, unit_price, discount,
            quantity::HUGEINT::DECIMAL(38, 0) * unit_price - discount
        FROM order_items""",
    "daily_sales": """
        SELECT _day_created_at, product_id, count(*), sum(quantity),
            sum((quantity::DECIMAL(18, 0) * unit_price - discount)::DECIMAL(38, 2))
        FROM order_items GROUP BY ALL""",
    "product_performance": """
        WITH sold AS (
            SELECT product_id, count(*) AS lines, sum(quantity) AS units,
                sum((quantity::DECIMAL(18, 0) * unit_price - discount)::DECIMAL(38, 2)) AS revenue
            FROM order_items GROUP BY product_id
        ), seen AS (
            SELECT product_id, count(*) FILTER (event_type = 'product_view') AS views,
                count(*) FILTER (event_type = 'add_to_cart') AS cart_adds
            FROM clickstream WHERE product_id IS NOT NULL GROUP BY product_id
        ), rated AS (
            SELECT product_id, count(*) AS reviews, sum(rating) AS stars FROM reviews GROUP BY product_id
        )
        SELECT product_id, coalesce(lines, 0), coalesce(units, 0), coalesce(revenue, 0), coalesce(views, 0),
            coalesce(cart_adds, 0), coalesce(reviews, 0), coalesce(stars, 0)
        FROM sold FULL JOIN seen USING (product_id) FULL JOIN rated USING (product_id)
        WHERE coalesce(lines, 0) + coalesce(views, 0) + coalesce(cart_adds, 0) + coalesce(reviews, 0) > 0""",
    "customer_lifetime_value": """
        SELECT customer_id, count(*), sum(total_amount),
            sum(if(status IN ('cancelled', 'refunded'), 0, total_amount)), min(order_date), max(order_date)
        FROM orders WHERE customer_id IS NOT NULL GROUP BY customer_id""",
    "conversion_funnel": """
        WITH firsts AS (
            SELECT session_id, event_type, arg_min(_day_occurred_at, occurred_at) AS _day
            FROM clickstream GROUP BY session_id, event_type
        )
        SELECT _day, count(*) FILTER (event_type = 'product_view') AS a,
            count(*) FILTER (event_type = 'add_to_cart') AS b, count(*) FILTER (event_type = 'checkout') AS c,
            count(*) FILTER (event_type = 'purchase') AS d
        FROM firsts GROUP BY _day HAVING a + b + c + d > 0""",
    "customer_cohorts": """
        WITH months AS (
            SELECT DISTINCT customer_id, date_trunc('month', _day_order_date)::DATE AS month
            FROM orders WHERE customer_id IS NOT NULL
        ), cohorts AS (SELECT customer_id, month, min(month) OVER (PARTITION BY customer_id) AS cohort FROM months)
        SELECT cohort, month, count(*) FROM cohorts GROUP BY cohort, month""",
    "sessions": """
        WITH marked AS (
            SELECT *, coalesce(occurred_at - lag(occurred_at) OVER w > INTERVAL 30 MINUTE, true) AS begins
            FROM clickstream WINDOW w AS (PARTITION BY visitor_id ORDER BY occurred_at, event_id, session_id)
        ), numbered AS (
            SELECT *, sum(begins::INT) OVER (
                PARTITION BY visitor_id ORDER BY occurred_at, event_id, session_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS number FROM marked
        )
        SELECT visitor_id, min(occurred_at), max(occurred_at), count(*),
            count(*) FILTER (event_type = 'product_view'), count(*) FILTER (event_type = 'add_to_cart'),
            count(*) FILTER (event_type = 'checkout'), count(*) FILTER (event_type = 'purchase')
        FROM numbered GROUP BY visitor_id, number""",
    "dim_date": """
        SELECT day, year(day), quarter(day), month(day), week(day), isodow(day)
        FROM (
            SELECT unnest(generate_series(make_date(y, 1, 1), make_date(y, 12, 31), INTERVAL 1 DAY))::DATE AS day
            FROM _years
        )""",
    "record_outcomes": """
        SELECT topic, make_timestamp(minute * 1000000), sum(records),
            coalesce(sum(records) FILTER (outcome = 'changed'), 0),
            coalesce(sum(records) FILTER (outcome = 'repeat'), 0),
            coalesce(sum(records) FILTER (outcome = 'superseded'), 0),
            coalesce(sum(records) FILTER (outcome = 'refused'), 0)
        FROM _minutes GROUP BY topic, minute""",
}


def _history(topic: str) -> str:
    """SCD type 2 rows out of all versions: a row for each run of versions that say the same."""
    entity, tracked = CONTRACTS[topic].entity_id, TRACKED[topic]
    differs = " OR ".join(f"{name} IS DISTINCT FROM lag({name}) OVER w" for name in tracked)
    return f"""
        WITH marked AS (
            SELECT *, op = 'd' AS gone, max(occurred_at) OVER w AS since,
                lag(version) OVER w IS NULL OR (op = 'd') <> lag(op = 'd') OVER w OR {differs} AS begins
            FROM {topic}_versions WINDOW w AS (PARTITION BY {entity} ORDER BY version)
        ), ended AS (
            SELECT *, lead(since) OVER (PARTITION BY {entity} ORDER BY version) AS until FROM marked WHERE begins
        )
        SELECT {entity}, {", ".join(tracked)}, version, since, until, until IS NULL FROM ended WHERE NOT gone"""


QUERIES = {
    **_QUERIES,
    **{f"dim_{topic}": _history(topic) for topic in VERSIONED},
    **{f"{topic}_versions": f"SELECT * FROM {topic}_versions" for topic in VERSIONED},
}
# What of a table may have changed with the rows in `_both_<topic>`: the columns that tell, and their values.
TOUCHED: dict[str, tuple[tuple[str, ...], str]] = {
    "fct_orders": (("order_id",), "SELECT order_id FROM _both_orders"),
    "fct_order_items": (("order_item_id",), "SELECT order_item_id FROM _both_order_items"),
    "daily_sales": (("day", "product_id"), "SELECT _day_created_at, product_id FROM _both_order_items"),
    "product_performance": (
        ("product_id",),
        """SELECT product_id FROM _both_order_items UNION ALL SELECT product_id FROM _both_reviews
        UNION ALL SELECT product_id FROM _both_clickstream WHERE product_id IS NOT NULL""",
    ),
    "customer_lifetime_value": (
        ("customer_id",),
        "SELECT customer_id FROM _both_orders WHERE customer_id IS NOT NULL",
    ),
    "conversion_funnel": (
        ("day",),
        "SELECT _day_occurred_at FROM clickstream SEMI JOIN _both_clickstream USING (session_id)",
    ),
    # A customer's first order may have moved: all cohorts that it was or is in have a month of one of its orders.
    "customer_cohorts": (
        ("cohort",),
        """SELECT date_trunc('month', _day_order_date)::DATE FROM (
            SELECT _day_order_date FROM orders SEMI JOIN _both_orders USING (customer_id)
            UNION ALL SELECT _day_order_date FROM _both_orders)""",
    ),
    "sessions": (("visitor_id",), "SELECT visitor_id FROM _both_clickstream"),
    "record_outcomes": (
        ("topic", "minute"),
        "SELECT topic, make_timestamp(minute * 1000000) FROM _minutes WHERE recent",
    ),
    **{
        name: ((CONTRACTS[topic].entity_id,), f"SELECT {CONTRACTS[topic].entity_id} FROM _both_{topic}")
        for topic in VERSIONED
        for name in (f"dim_{topic}", f"{topic}_versions")
    },
}

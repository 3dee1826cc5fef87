"""Gold and sessions again: plain SQL in DuckDB over the recomputed silver rows, each table whole and in one query.

Written apart from the code that keeps the tables: that adds what a batch changes, this counts everything anew.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from replay.verify.recompute import DATED, Recomputed
from schemas.contract import CONTRACTS, Contract
from schemas.gold import TRACKED
from schemas.tables import VERSIONED, silver, versions
from streams.lake.frames import plain_schema

# The topics of DATED have the day, in the shop's time zone, as `_day`.
QUERIES = {
    "fct_orders": """
        SELECT order_id, customer_id, order_date, _day, status, payment_method, shipping_country, total_amount,
            if(status = 'cancelled', total_amount, 0), if(status = 'refunded', total_amount, 0),
            if(status IN ('cancelled', 'refunded'), 0, total_amount)
        FROM orders""",
    "fct_order_items": """
        SELECT order_item_id, order_id, product_id, created_at, _day, quantity, unit_price, discount,
            quantity::HUGEINT::DECIMAL(38, 0) * unit_price - discount
        FROM order_items""",
    "daily_sales": """
        SELECT _day, product_id, count(*), sum(quantity),
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
            SELECT session_id, event_type, arg_min(_day, occurred_at) AS _day
            FROM clickstream GROUP BY session_id, event_type
        )
        SELECT _day, count(*) FILTER (event_type = 'product_view') AS a,
            count(*) FILTER (event_type = 'add_to_cart') AS b, count(*) FILTER (event_type = 'checkout') AS c,
            count(*) FILTER (event_type = 'purchase') AS d
        FROM firsts GROUP BY _day HAVING a + b + c + d > 0""",
    "customer_cohorts": """
        WITH months AS (
            SELECT DISTINCT customer_id, date_trunc('month', _day)::DATE AS month
            FROM orders WHERE customer_id IS NOT NULL
        ), cohorts AS (SELECT customer_id, month, min(month) OVER (PARTITION BY customer_id) AS cohort FROM months)
        SELECT cohort, month, count(*) FROM cohorts GROUP BY cohort, month""",
    "sessions": """
        WITH marked AS (
            SELECT *, coalesce(occurred_at - lag(occurred_at) OVER w > INTERVAL 30 MINUTE, true) AS begins
            FROM clickstream WINDOW w AS (PARTITION BY visitor_id ORDER BY occurred_at, event_id)
        ), numbered AS (
            SELECT *, sum(begins::INT) OVER (
                PARTITION BY visitor_id ORDER BY occurred_at, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
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
            FROM years
        )""",
    **{f"dim_{topic}": None for topic in VERSIONED},
    **{f"{topic}_versions": f"SELECT * FROM {topic}_versions" for topic in VERSIONED},
}


def history_query(topic: str) -> str:
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


def recompute_gold(again: Recomputed, tz: str) -> dict[str, list[tuple]]:
    """Rows of each table, in the order of its columns."""
    with duckdb.connect() as database:
        zone = ZoneInfo(tz)
        for topic, contract in CONTRACTS.items():
            _load(database, topic, _silver_rows(contract, again, zone))
        for topic in VERSIONED:
            table = versions(CONTRACTS[topic])
            _load(database, table.name, _table(plain_schema(table), again.versions[topic]))
        years = {_day(at, zone).year for topic in DATED for at in again.times[topic]}
        _load(database, "years", pa.table({"y": pa.array(sorted(years), pa.int32())}))
        return {
            name: database.execute(query or history_query(name.removeprefix("dim_"))).fetchall()
            for name, query in QUERIES.items()
        }


def _silver_rows(contract: Contract, again: Recomputed, zone: ZoneInfo) -> pa.Table:
    rows = _table(plain_schema(silver(contract)), again.rows[contract.topic])
    column = DATED.get(contract.topic)
    if column is None:
        return rows
    days = [_day(at, zone) for at in rows[column].to_pylist()]
    return rows.append_column("_day", pa.array(days, pa.date32()))


def _day(at: datetime, zone: ZoneInfo) -> date:
    """The day of a time (UTC, without a zone) in the shop's time zone."""
    return at.replace(tzinfo=ZoneInfo("UTC")).astimezone(zone).date()


def _table(schema: pa.Schema, rows: list[tuple]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema
    )


def _load(database: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    database.register("_rows", rows)
    database.execute(f"CREATE TABLE {name} AS SELECT * FROM _rows")
    database.unregister("_rows")

"""Real data in the lake: gold equals sums that DuckDB makes straight from the files, day by day and product by product.

The computation over the files shares nothing with importer, mapping or lake. Skipped where the files are not.
"""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import duckdb
import pytest

from infra.bootstrap import bootstrap
from infra.registry import schema_ids
from serving.lake.views import connect
from sources.importer import Importer, KafkaSink, load_mapping
from sources.producer import EventProducer
from tests.e2e.lake_kit import LakeJob
from tests.sources.importer_kit import NOW
from tests.sources.test_importer_online_retail import DATA, MAPPING

LONDON = "Europe/London"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.longhaul,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(not DATA, reason="the data set is not at ../shared/data/online-retail"),
]

# Money in pence: prices have up to three decimals there, and are rounded half to even.
LINES = """
    CREATE TABLE lines AS
    WITH told AS (SELECT DISTINCT * FROM read_csv(?, header = true, all_varchar = true)), typed AS (
        SELECT InvoiceNo AS invoice, upper(trim(StockCode)) AS sku, Quantity::BIGINT AS pieces,
            InvoiceDate::TIMESTAMP AS sold_at, (UnitPrice::DECIMAL(18, 3) * 1000)::BIGINT AS price,
            split_part(CustomerID, '.', 1) AS customer, InvoiceNo LIKE 'C%' AS credit
        FROM told
    ), kept AS (
        SELECT * FROM typed WHERE invoice NOT LIKE 'A%' AND price > 0
            AND sku NOT IN ('AMAZONFEE', 'BANK CHARGES', 'CRUK', 'S', 'B')
    )
    SELECT *, price // 10 + (price % 10 > 5 OR (price % 10 = 5 AND price // 10 % 2 = 1))::BIGINT AS pence,
        NOT credit AND sku NOT IN ('POST', 'DOT', 'C2', '23444', '23574', 'M', 'D') AS goods
    FROM kept"""
INVOICES = """
    CREATE TABLE invoices AS
    SELECT invoice, any_value(credit) AS credit, min(sold_at)::DATE AS day, max(customer) AS customer,
        sum(pieces * pence)::BIGINT AS amount
    FROM lines GROUP BY invoice"""

# What is asked of the files, and of gold.
SAME = {
    "daily net": (
        "SELECT day, sum(amount)::BIGINT, count(*) FROM invoices WHERE NOT credit GROUP BY day",
        "SELECT day, (sum(net) * 100)::BIGINT, count(*) FROM fct_orders WHERE status = 'placed' GROUP BY day",
    ),
    "cancellations": (
        "SELECT day, -sum(amount)::BIGINT, count(*) FROM invoices WHERE credit GROUP BY day",
        "SELECT day, (sum(refunded) * 100)::BIGINT, count(*) FROM fct_orders WHERE status = 'refunded' "
        "AND net = 0 AND refunded = gross GROUP BY day",
    ),
    "daily sales": (
        "SELECT sold_at::DATE, sku, count(*), sum(pieces)::BIGINT, sum(pieces * pence)::BIGINT FROM lines WHERE goods "
        "GROUP BY ALL",
        "SELECT day, sku, lines, units, (revenue * 100)::BIGINT FROM daily_sales JOIN dim_products "
        "USING (product_id) WHERE is_current",
    ),
    "products": (
        "SELECT sku, count(*), sum(pieces)::BIGINT, sum(pieces * pence)::BIGINT FROM lines WHERE goods GROUP BY sku",
        "SELECT sku, lines, units, (revenue * 100)::BIGINT FROM product_performance JOIN dim_products "
        "USING (product_id) WHERE is_current",
    ),
    "customers": (
        "SELECT customer, count(*), sum(abs(amount))::BIGINT, sum(if(credit, 0, amount))::BIGINT FROM invoices "
        "WHERE customer IS NOT NULL GROUP BY customer",
        "SELECT email[10:-17], orders, (gross * 100)::BIGINT, (net * 100)::BIGINT "
        "FROM customer_lifetime_value JOIN customers USING (customer_id)",
    ),
}


def test_gold_equals_a_computation_over_the_files(settings):
    settings = settings.replace(shop_timezone=LONDON, shop_currency="GBP")
    bootstrap(settings)
    producer = EventProducer(
        settings.kafka_bootstrap_servers, settings.topic_prefix, schema_ids(settings), delivery_seconds=120
    )
    account = Importer(load_mapping(MAPPING), KafkaSink(producer), NOW).run(DATA)
    assert account.errors == []
    with LakeJob(settings) as job:
        manifest = job.reached()
        job.terminate()
        assert job.ended() == 0
        root = job.lake().root
    with duckdb.connect() as files, connect(root, manifest) as lake:
        files.execute(LINES, [[str(path) for path in DATA]])
        files.execute(INVOICES)
        for what, (over_files, over_gold) in SAME.items():
            expected, found = sorted(files.execute(over_files).fetchall()), lake.execute(over_gold).fetchall()
            assert len(expected) > 100, what
            assert sorted(found) == expected, what
        first = dict(files.execute("SELECT customer, min(sold_at) FROM lines GROUP BY customer").fetchall())
        [days] = lake.execute("SELECT count(DISTINCT day) FROM fct_orders").fetchone()
        signed_up = lake.execute("SELECT email[10:-17], created_at FROM customers").fetchall()
        [net] = lake.execute("SELECT sum(net) FROM fct_orders").fetchone()
    first.pop(None, None)
    assert {number: utc(at) for number, at in first.items()} == dict(signed_up)
    assert days > 200
    [sales] = [value for name, value in control(account).items() if name == "sales"]
    assert net == Decimal(sales)


def utc(local: datetime) -> datetime:
    """A time that was read off a clock in London."""
    return local.replace(tzinfo=ZoneInfo(LONDON)).astimezone(ZoneInfo("UTC")).replace(tzinfo=None)


def control(account):
    return account.as_json()["control_totals"]["amount"]["events"]

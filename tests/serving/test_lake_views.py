"""The lake's views say what plain Python says of the same rows, to the cent and the sixth place."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas.errors import ContractError
from schemas.tables import RELATIONS, TABLES, _by_name
from schemas.view import MACROS
from schemas.views import VIEWS
from serving.lake.dictionary import is_personal
from serving.lake.facts import FactBook
from serving.lake.question import Question, answer
from serving.lake.reader import Gone, Lake
from serving.lake.views import connect, sql_type
from tests.helpers import isolated_settings
from tests.serving.lake_kit import WHEN, SmallLake, sales
from tests.serving.lake_sales import Row, Shop

MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def writer(tmp_path: Path):
    found = SmallLake(tmp_path / "lake", isolated_settings(tmp_path))
    yield found
    found.close()


@pytest.fixture(scope="module", params=[1, 2, 3], ids="seed {}".format)
def shop(request: pytest.FixtureRequest) -> Shop:
    return Shop(request.param)


@pytest.fixture(scope="module")
def seen(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """Every view of the shop's lake."""
    home = tmp_path_factory.mktemp("views")
    lake = SmallLake(home / "lake", isolated_settings(home))
    lake.write(shop.rows)
    lake.close()
    with connect(lake.root, lake.manifest) as sql:
        return {name: read(sql, name) for name in VIEWS}


def read(sql: duckdb.DuckDBPyConnection, name: str) -> list[Row]:
    """The rows of a view in the order of its key; times are UTC."""
    found = sql.execute(f"SELECT * FROM {name} ORDER BY {', '.join(VIEWS[name].key)}").fetchall()
    names = [column.name for column in VIEWS[name].columns]
    return [
        {n: v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for n, v in zip(names, row, strict=True)}
        for row in found
    ]


def look(writer: SmallLake, name: str) -> list[Row]:
    with connect(writer.root, writer.manifest) as sql:
        return read(sql, name)


def test_who_names_no_directory_to_spill_into_has_none(writer: SmallLake, tmp_path: Path) -> None:
    """DuckDB's own is `.tmp` in the current directory, where rows would lie in clear."""
    settings = "SELECT current_setting('temp_directory'), current_setting('threads')"
    with connect(writer.root, writer.manifest) as sql:
        assert sql.execute(settings).fetchone()[0] == ""
    given = {"temp_directory": str(tmp_path / "spill"), "threads": 1}
    with connect(writer.root, writer.manifest, config=given) as sql:
        assert sql.execute(settings).fetchone() == (given["temp_directory"], 1)


# --- the same in plain Python


def rounded(numerator: Decimal | int, denominator: int, places: int) -> Decimal | None:
    """Half-even, exactly; null of nothing."""
    if denominator == 0:
        return None
    return Decimal(round(Fraction(numerator) / denominator * 10**places)).scaleb(-places)


def grouped(rows: Iterable[Row], by: Callable[[Row], Any], name: str, sums: dict[str, Callable]) -> list[Row]:
    groups = defaultdict(list)
    for row in rows:
        groups[by(row)].append(row)
    return [
        {name: key, **{each: sum(map(of, rows)) for each, of in sums.items()}}
        for key, rows in sorted(groups.items())
    ]


def week(row: Row) -> date:
    return row["day"] - timedelta(days=row["day"].isoweekday() - 1)


def month(row: Row) -> date:
    return row["day"].replace(day=1)


def current(history: list[Row], key: str, value: str | None) -> Row | None:
    return next((row for row in history if row[key] == value and row["is_current"]), None)


def then(history: list[Row], key: str, value: str | None, at: datetime) -> Row | None:
    return next(
        (
            row
            for row in history
            if row[key] == value
            and row["valid_from"] <= at
            and (row["valid_to"] is None or at < row["valid_to"])
        ),
        None,
    )


def beside(prefix: str, row: Row | None) -> Row:
    """The attributes of a dimension's row as a view shows them."""
    left_out = (f"{prefix}_id", "valid_from", "valid_to", "is_current")
    names = [c.name for c in TABLES[f"dim_{prefix}s"].columns if c.name not in left_out]
    nothing = {"subcategory": None, "sku": "", "price": None}
    return {f"{prefix}_{name}": row and row.get(name, nothing.get(name, WHEN)) for name in names}


def test_sales_by_week_and_month(shop, seen):
    sums = {"lines": lambda _: 1, "units": lambda i: i["units"], "revenue": lambda i: i["revenue"]}
    assert seen["sales_by_week"] == grouped(shop.items, week, "week", sums)
    assert seen["sales_by_month"] == grouped(shop.items, month, "month", sums)


def test_sales_by_category_and_country_with_what_is_not_known(shop, seen):
    sums = {"lines": lambda _: 1, "units": lambda i: i["units"], "revenue": lambda i: i["revenue"]}

    def category(item: Row) -> str:
        return (current(shop.products, "product_id", item["product_id"]) or {"category": "unknown"})[
            "category"
        ]

    countries = {order["order_id"]: order["shipping_country"] or "unknown" for order in shop.orders}
    assert seen["sales_by_category"] == grouped(shop.items, category, "category", sums)
    by_country = grouped(shop.items, lambda i: countries.get(i["order_id"], "unknown"), "country", sums)
    assert seen["sales_by_country"] == by_country


def test_revenue_by_day_week_month_and_country(shop, seen):
    amounts = ("gross", "cancelled", "refunded", "net")
    sums = {"orders": lambda _: 1, **{name: lambda o, name=name: o[name] for name in amounts}}

    def country(order: Row) -> str:
        return order["shipping_country"] or "unknown"

    for name, by in {"day": lambda o: o["day"], "week": week, "month": month, "country": country}.items():
        expected = [
            row | {"average_order_value": rounded(row["gross"], row["orders"], 2)}
            for row in grouped(shop.orders, by, name, sums)
        ]
        assert seen[f"revenue_by_{name}"] == expected


@pytest.mark.parametrize("as_of", [False, True], ids=["current", "as of the fact"])
def test_facts_have_the_attributes_of_the_row_that_holds(shop, seen, as_of):
    suffix = "as_of" if as_of else "current"

    def row_of(kind: str, history: list[Row], value: str | None, at: datetime) -> Row:
        key = f"{kind}_id"
        row = then(history, key, value, at) if as_of else current(history, key, value)
        return beside(kind, row)

    orders = {order["order_id"]: order for order in shop.orders}
    shown = seen[f"fct_orders_{suffix}"]
    assert len(shown) == len(shop.orders)
    for row in shown:
        order = orders[row["order_id"]]
        expected = row_of("customer", shop.customers, order["customer_id"], order["order_date"])
        assert row == row | order | expected
    items = {item["order_item_id"]: item for item in shop.items}
    shown = seen[f"fct_order_items_{suffix}"]
    assert len(shown) == len(shop.items)
    for row in shown:
        item = items[row["order_item_id"]]
        customer = orders.get(item["order_id"], {}).get("customer_id")
        expected = row_of("customer", shop.customers, customer, item["created_at"])
        expected |= row_of("product", shop.products, item["product_id"], item["created_at"])
        assert row == row | item | expected | {"customer_id": customer}


def test_product_rates_and_none_of_nothing(shop, seen):
    given = {row["product_id"]: row for row in shop.rows["product_performance"]}
    names = {row["product_id"] for row in seen["product_rates"]}
    assert len(names) == len(seen["product_rates"]) == 12
    for row in seen["product_rates"]:
        product = current(shop.products, "product_id", row["product_id"])
        known = product is not None and product["cost"] is not None
        assert row["margin"] == (row["revenue"] - row["units"] * product["cost"] if known else None)
        assert row["name"] == (product and product["name"])
        assert row["category"] == (product and product["category"])
        assert row["lines"] == sum(item["product_id"] == row["product_id"] for item in shop.items)
        for rate, numerator, denominator in (
            ("cart_rate", "cart_adds", "views"),
            ("conversion", "lines", "views"),
            ("rating", "stars", "reviews"),
        ):
            assert row[rate] == rounded(row[numerator], row[denominator], 6)
    assert set(given) == names


def test_customer_value_by_the_margin_multiple(shop, seen):
    newest = max(order["order_date"] for order in shop.orders)
    given = sorted(shop.rows["customer_lifetime_value"], key=lambda row: row["customer_id"])
    assert len(given) > 3
    expected = []
    for row in given:
        tenure = (newest - row["first_order"]) // timedelta(days=1)
        # r / (1 + i - r) with r = 0.8 and i = 0.12
        worth = (
            Fraction(row["net"])
            * 365
            / max(tenure, 365)
            * Fraction("0.8")
            / (1 + Fraction("0.12") - Fraction("0.8"))
        )
        expected.append(
            row
            | {
                "average_order_value": rounded(row["gross"], row["orders"], 2),
                "tenure_days": tenure,
                "predicted_value": Decimal(round(worth * 100)).scaleb(-2),
            }
        )
    assert seen["customer_value"] == expected


def test_retention_by_cohort_has_every_month_since(shop, seen):
    members = defaultdict(lambda: defaultdict(set))
    for order in shop.orders:
        if order["customer_id"]:
            members[order["customer_id"]][month(order)].add(order["order_id"])
    firsts = {customer: min(months) for customer, months in members.items()}
    newest = max(max(months) for months in members.values())
    expected = []
    for cohort in sorted(set(firsts.values())):
        who = [customer for customer, first in firsts.items() if first == cohort]
        at, since = cohort, 0
        while at <= newest:
            again = sum(at in members[customer] for customer in who)
            expected.append(
                {
                    "cohort": cohort,
                    "months_since": since,
                    "customers": again,
                    "cohort_size": len(who),
                    "retention": rounded(again, len(who), 6),
                }
            )
            at, since = (at + timedelta(days=31)).replace(day=1), since + 1
    assert seen["retention_by_cohort"] == expected
    assert any(row["customers"] == 0 for row in expected)


# --- by hand


def order(number: int, **more: Any) -> Row:
    at = more.get("order_date", WHEN)
    return {"order_id": f"o{number}", "order_date": at, "day": at.date(), "status": "paid", **more}


def test_as_of_begins_with_valid_from_and_ends_before_valid_to(writer):
    born, moved, gone = WHEN, WHEN + timedelta(days=10), WHEN + timedelta(days=20)
    history = [
        {"customer_id": "c", "version": 3, "country": "AT", "valid_from": born, "valid_to": moved},
        # Of no length: two changes at one moment.
        {"customer_id": "c", "version": 4, "country": "CH", "valid_from": moved, "valid_to": moved},
        {"customer_id": "c", "version": 5, "country": "DE", "valid_from": moved, "valid_to": gone},
    ]
    times = [born - MICROSECOND, born, moved - MICROSECOND, moved, gone - MICROSECOND, gone]
    writer.write(
        {
            "dim_customers": history,
            "fct_orders": [order(n, customer_id="c", order_date=at) for n, at in enumerate(times)]
            + [order(9, customer_id=None)],
        }
    )
    found = [(row["customer_version"], row["customer_country"]) for row in look(writer, "fct_orders_as_of")]
    assert found == [(None, None), (3, "AT"), (3, "AT"), (5, "DE"), (5, "DE"), (None, None), (None, None)]
    # Deleted: no row of theirs is current.
    assert {row["customer_country"] for row in look(writer, "fct_orders_current")} == {None}
    assert [row["customer_id"] for row in look(writer, "fct_orders_current")] == ["c"] * 6 + [None]


def test_half_is_rounded_to_even_and_large_money_stays_exact(writer):
    large = Decimal("99999999999999999999999999.99")
    amounts = {1: ["0.01", "0.00"], 2: ["0.01", "0.02"], 3: ["0.03", "0.02"], 4: [large, large, large]}
    orders = [
        order(10 * day + n, order_date=WHEN.replace(day=day), gross=Decimal(amount), net=Decimal(amount))
        for day, each in amounts.items()
        for n, amount in enumerate(each)
    ]
    writer.write({"fct_orders": orders})
    found = {row["day"].day: row["average_order_value"] for row in look(writer, "revenue_by_day")}
    assert found == {1: Decimal("0.00"), 2: Decimal("0.02"), 3: Decimal("0.02"), 4: large}
    by_month = look(writer, "revenue_by_month")[0]
    # More digits than Python keeps by default.
    assert by_month["gross"] == Decimal("300000000000000000000000000.06")


@pytest.mark.parametrize(
    ("numerator", "denominator"),
    [(5, 10), (15, 10), (25, 10), (-15, 10), (-25, 10), (-1, 3), (2, 3), (0, 7), (3, 0), (10**30 + 5, 10)],
)
def test_quotients_are_those_of_fractions(numerator, denominator):
    with duckdb.connect() as sql:
        for signature, body in MACROS.items():
            sql.execute(f"CREATE MACRO {signature} AS {body}")
        [found] = sql.execute(
            f"SELECT half_even(n, d) FROM (SELECT {numerator}::HUGEINT AS n, {denominator} AS d)"
        ).fetchone()
    assert found == (round(Fraction(numerator, denominator)) if denominator else None)


# --- asked like tables


def test_a_view_has_the_columns_types_and_key_that_it_declares_and_nobodys_data(shop, seen, writer):
    writer.write({})
    with connect(writer.root, writer.manifest) as sql:
        for view in VIEWS.values():
            found = [(row[0], row[1]) for row in sql.execute(f"DESCRIBE {view.name}").fetchall()]
            assert found == [(column.name, sql_type(column)) for column in view.columns], view.name
            assert not any(map(is_personal, view.columns))
            assert set(view.reads) <= set(TABLES)
            assert all(column.doc and column.source for column in view.columns)
    for name, rows in seen.items():
        keys = [tuple(row[key] for key in VIEWS[name].key) for row in rows]
        assert keys
        assert len(set(keys)) == len(keys)
        filled = [column.name for column in VIEWS[name].columns if not column.nullable]
        assert all(row[column] is not None for row in rows for column in filled), name


def test_a_view_is_paged_and_filtered_at_its_manifest(writer):
    lake = Lake(writer.root)
    writer.write({"daily_sales": [sales(day, product) for day in (4, 5, 11, 18) for product in (1, 2)]})
    writer.write({"daily_sales": [sales(4, 1, "99.00"), sales(25, 3)]})
    view = VIEWS["sales_by_week"]
    columns = tuple(column.name for column in view.columns)

    def page(number: int, **more: Any):
        with lake.open(lake.at(number), view) as connection:
            return answer(connection, Question(view, columns, more.pop("where", {}), **more))

    first = page(1, limit=2)
    assert [row["week"] for row in first.rows] == ["2026-05-04", "2026-05-11"]
    assert first.rows[0]["revenue"] == "40.00"
    rest = page(1, limit=2, after=first.next)
    assert [row["week"] for row in rest.rows] == ["2026-05-18"]
    assert rest.next is None
    assert page(2, limit=1).rows[0]["revenue"] == "129.00"
    chosen = page(2, limit=5, where={"units": [3]}, descending=True).rows
    assert [row["week"] for row in chosen] == ["2026-05-25", "2026-05-18", "2026-05-11"]


def test_a_view_exists_where_its_tables_do(writer):
    writer.write({"daily_sales": [sales(1, 1)]})
    manifest = replace(
        writer.manifest, tables={k: v for k, v in writer.manifest.tables.items() if k != "dim_products"}
    )
    with connect(writer.root, manifest) as sql:
        assert len(sql.sql("SELECT * FROM sales_by_month").fetchall()) == 1
        with pytest.raises(duckdb.CatalogException):
            sql.sql("SELECT * FROM sales_by_category")
    # To a reader of one view, a table that is younger than the manifest was empty then.
    with Lake(writer.root).open(manifest, VIEWS["sales_by_category"]) as sql:
        assert sql.sql("SELECT category, revenue FROM sales_by_category").fetchall() == [
            ("unknown", Decimal("10.00"))
        ]


def test_facts_of_a_view_are_rows_and_when_its_tables_were_written(writer):
    writer.write({"daily_sales": [sales(day, 1) for day in (1, 8, 31)], "fct_orders": [order(1), order(2)]})
    counted = []
    book = FactBook(Lake(writer.root))

    def read(may_go_on: bool = True):
        return book.read(writer.manifest, lambda: may_go_on, lambda c: counted.append(c) or c)

    assert read(False)["sales_by_week"].rows is None
    facts = read()
    assert set(facts) == set(RELATIONS)
    assert (facts["sales_by_week"].rows, facts["sales_by_month"].rows) == (3, 1)
    assert (facts["fct_orders_as_of"].rows, facts["revenue_by_day"].rows) == (2, 1)
    assert facts["sales_by_week"].version is facts["sales_by_week"].bytes is None
    assert facts["sales_by_week"].written_at == facts["daily_sales"].written_at
    before = len(counted)
    read()
    assert len(counted) == before, "what was not written meanwhile is counted again"
    for file in (Path(writer.root) / "daily_sales").glob("*.parquet"):
        file.unlink()
    with (
        pytest.raises(Gone, match="view sales_by_week is no longer kept"),
        Lake(writer.root).open(writer.manifest, VIEWS["sales_by_week"]) as sql,
    ):
        sql.sql("SELECT * FROM sales_by_week").fetchall()


def test_a_topic_of_ones_own_may_not_be_called_like_a_view():
    own = replace(TABLES["orders"], name="revenue_by_day")
    with pytest.raises(ContractError, match=r"two of revenue_by_day.*another name"):
        _by_name(*TABLES.values(), own, *VIEWS.values())

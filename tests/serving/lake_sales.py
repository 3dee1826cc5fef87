"""A small shop's gold rows, made at random out of a seed: what the lake's views are held against.

Guests, orders that are not known yet, products that nobody has heard of, deleted customers, facts at the very µs at
which a row of a dimension begins or ends, cohorts of one: all of it occurs.
"""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.serving.lake_kit import Rows

BEGIN = datetime(2025, 11, 20, tzinfo=UTC)
DAYS = 150
STATUSES = ("placed", "paid", "shipped", "delivered", "cancelled", "refunded")
Row = dict[str, Any]


class Shop:
    """`rows` of each gold table that a view reads."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.customers = self._histories("c", 12, self._customer)
        self.products = self._histories("p", 9, self._product)
        self.orders = [self._order(number) for number in range(90)]
        self.items = [self._item(number) for number in range(200)]

    @property
    def rows(self) -> Rows:
        return {
            "dim_customers": self.customers,
            "dim_products": self.products,
            "fct_orders": self.orders,
            "fct_order_items": self.items,
            "daily_sales": self._daily_sales(),
            "product_performance": self._performance(),
            "customer_lifetime_value": self._lifetimes(),
            "customer_cohorts": self._cohorts(),
        }

    # --- dimensions

    def _histories(self, kind: str, entities: int, attributes) -> list[Row]:
        """Each with up to three rows, some with a gap (deleted, and back again), some closed, some of no length."""
        key = {"c": "customer_id", "p": "product_id"}[kind]
        found = []
        for n in range(entities):
            at, rows = self._moment(), []
            for version in range(1, self._random.choice((1, 1, 2, 3)) + 1):
                end = at + timedelta(microseconds=self._random.choice((0, 1, 86_400_000_000 * 20)))
                rows.append(
                    {
                        key: f"{kind}{n}",
                        "version": version,
                        "valid_from": at,
                        "valid_to": end,
                        **attributes(n),
                    }
                )
                at = end + timedelta(days=self._random.choice((0, 0, 3)))
            if self._random.random() < 0.7:
                rows[-1] |= {"valid_to": None}
            for row in rows:
                row["is_current"] = row["valid_to"] is None
            found += rows
        return found

    def _customer(self, number: int) -> Row:
        return {"country": self._random.choice(("AT", "DE", None)), "created_at": BEGIN}

    def _product(self, number: int) -> Row:
        cost = self._random.choice((None, self._money(900)))
        category = self._random.choice(("tea", "toys", "unknown"))
        return {"name": f"Product {number}", "category": category, "cost": cost, "price": self._money(2_000)}

    # --- facts

    def _order(self, number: int) -> Row:
        total, status = self._money(50_000), self._random.choice(STATUSES)
        # c12 and above never signed up.
        customer = self._random.choice((None, *(f"c{n}" for n in range(15))))
        at = self._time_of_a_fact([row for row in self.customers if row["customer_id"] == customer])
        cancelled, refunded = (total if status == each else Decimal(0) for each in ("cancelled", "refunded"))
        return {
            "order_id": f"o{number}",
            "customer_id": customer,
            "order_date": at,
            "day": at.date(),
            "status": status,
            "shipping_country": self._random.choice((None, "AT", "DE", "FR")),
            "gross": total,
            "cancelled": cancelled,
            "refunded": refunded,
            "net": total - cancelled - refunded,
        }

    def _item(self, number: int) -> Row:
        product = f"p{self._random.randrange(11)}"
        at = self._time_of_a_fact([row for row in self.products if row["product_id"] == product])
        units, price = self._random.randint(1, 9), self._money(2_000)
        discount = self._random.choice((Decimal("0.00"), Decimal("0.01")))
        return {
            "order_item_id": f"i{number}",
            "order_id": f"o{self._random.randrange(100)}",
            "product_id": product,
            "created_at": at,
            "day": at.date(),
            "units": units,
            "unit_price": price,
            "discount": discount,
            "revenue": units * price - discount,
        }

    def _time_of_a_fact(self, history: list[Row]) -> datetime:
        """Mostly any; else where a row begins or ends, or a µs before."""
        edges = [row[end] for row in history for end in ("valid_from", "valid_to") if row[end]]
        if not edges or self._random.random() < 0.4:
            return self._moment()
        return self._random.choice(edges) - timedelta(microseconds=self._random.choice((0, 1)))

    def _moment(self) -> datetime:
        return BEGIN + timedelta(microseconds=self._random.randrange(DAYS * 86_400_000_000))

    def _money(self, cents: int) -> Decimal:
        return Decimal(self._random.randint(1, cents)) / 100

    # --- what gold sums up

    def _daily_sales(self) -> list[Row]:
        sums: dict[tuple[date, str], Row] = {}
        for item in self.items:
            key = item["day"], item["product_id"]
            row = sums.setdefault(
                key, {"day": key[0], "product_id": key[1], "lines": 0, "units": 0, "revenue": 0}
            )
            row["lines"] += 1
            row["units"] += item["units"]
            row["revenue"] += item["revenue"]
        return list(sums.values())

    def _performance(self) -> list[Row]:
        found = []
        for n in range(12):  # p11 is only looked at
            items = [item for item in self.items if item["product_id"] == f"p{n}"]
            views, reviews = (self._random.choice((0, self._random.randint(1, most))) for most in (900, 12))
            found.append(
                {
                    "product_id": f"p{n}",
                    "lines": len(items),
                    "units": sum(item["units"] for item in items),
                    "revenue": sum((item["revenue"] for item in items), Decimal(0)),
                    "views": views,
                    "cart_adds": self._random.randint(0, views),
                    "reviews": reviews,
                    "stars": sum(self._random.randint(1, 5) for _ in range(reviews)),
                }
            )
        return found

    def _by_customer(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for order in self.orders:
            if order["customer_id"]:
                found.setdefault(order["customer_id"], []).append(order)
        return found

    def _lifetimes(self) -> list[Row]:
        return [
            {
                "customer_id": customer,
                "orders": len(orders),
                "gross": sum(order["gross"] for order in orders),
                "net": sum(order["net"] for order in orders),
                "first_order": min(order["order_date"] for order in orders),
                "last_order": max(order["order_date"] for order in orders),
            }
            for customer, orders in self._by_customer().items()
        ]

    def _cohorts(self) -> list[Row]:
        members: dict[tuple[date, date], set[str]] = {}
        for customer, orders in self._by_customer().items():
            months = {order["day"].replace(day=1) for order in orders}
            for month in months:
                members.setdefault((min(months), month), set()).add(customer)
        return [
            {"cohort": cohort, "month": month, "customers": len(who)}
            for (cohort, month), who in members.items()
        ]

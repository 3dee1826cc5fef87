"""A shop in which everything changes all the time: few entities, many versions, deletions, rebirths, late news."""

import random
import uuid
from datetime import datetime, timedelta
from decimal import Decimal

from schemas.contract import CONTRACTS
from tests.sources.generator_kit import START

DAYS = 100
TOPICS = (*CONTRACTS, "orders", "clickstream")  # these two more often


def events(seed: int, count: int) -> list[tuple[str, dict]]:
    """`count` good events in the order of arrival, which is not that of their versions, nor that of their times."""
    chance = random.Random(seed)
    shop = Restless(chance)
    made = [shop.event() for _ in range(count)]
    # Each comes up to twenty places too late, a few much later than that, and some twice.
    late = sorted(
        range(count), key=lambda n: n + chance.uniform(0, count / 4 if chance.random() < 0.1 else 20)
    )
    return [made[n] for n in late for _ in range(2 if chance.random() < 0.05 else 1)]


class Restless:
    """Makes one event after the other."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.ids = {
            kind: [self.uuid() for _ in range(number)]
            for kind, number in (("customer", 6), ("product", 5), ("order", 25), ("item", 30), ("payment", 10),
                                 ("review", 10), ("visitor", 5), ("session", 12))
        }  # fmt: skip
        self.versions: dict[str, int] = {}
        self.last: dict[str, dict] = {}
        self.clicks: list[dict] = []

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def any(self, kind: str) -> str:
        return self.chance.choice(self.ids[kind])

    def time(self) -> datetime:
        return START - timedelta(days=self.chance.uniform(0, DAYS))

    def money(self) -> Decimal:
        return Decimal(self.chance.randrange(100_000)) / 100

    def event(self) -> tuple[str, dict]:
        topic = self.chance.choice(TOPICS)
        if topic == "clickstream":
            return topic, self.click()
        if self.last and self.chance.random() < 0.04:
            return self.renumbered()
        row = getattr(self, f"{topic}_row")()
        entity = next(iter(row.values()))
        # Versions have holes, and the same one may come with other content: a conflict.
        self.versions[entity] = self.versions.get(entity, 0) + self.chance.choice((0, 1, 1, 1, 2))
        change = {
            "event_id": self.uuid(),
            "op": self.chance.choice("cuuuud"),
            "occurred_at": self.time(),
            "version": self.versions[entity],
            "source": "test",
        }
        self.last[entity] = row | change
        return topic, row | change

    def renumbered(self) -> tuple[str, dict]:
        """The last event of an entity under a higher version, as a source sends it that numbers anew: no news."""
        entity = self.chance.choice(list(self.last))
        self.versions[entity] += 1
        event = {**self.last[entity], "version": self.versions[entity]}
        [topic] = [topic for topic, contract in CONTRACTS.items() if contract.entity_id == next(iter(event))]
        return topic, event

    def customers_row(self) -> dict:
        nothing = (
            "first_name",
            "last_name",
            "phone",
            "address_line1",
            "address_line2",
            "city",
            "state",
            "postal_code",
        )
        return {
            "customer_id": self.any("customer"),
            "email": "a@example.org",
            **dict.fromkeys(nothing),
            "country": self.chance.choice(("AT", "DE", None)),
            "created_at": START - timedelta(days=DAYS),
            "updated_at": START,
        }

    def products_row(self) -> dict:
        return {
            "product_id": self.any("product"),
            "name": "thing",
            "description": None,
            "category": self.chance.choice(("a", "b")),
            "subcategory": None,
            "price": self.chance.choice((Decimal("1.00"), Decimal("2.50"))),
            "cost": None,
            "sku": "sku",
            "stock_quantity": self.chance.randrange(9),
            "created_at": START - timedelta(days=DAYS),
            "updated_at": START,
        }

    def orders_row(self) -> dict:
        return {
            "order_id": self.any("order"),
            "customer_id": self.chance.choice((self.any("customer"), None)),
            "order_date": self.time(),
            "status": self.chance.choice(("placed", "paid", "shipped", "delivered", "cancelled", "refunded")),
            "total_amount": self.money(),
            "shipping_address": None,
            "shipping_country": None,
            "payment_method": "card",
            "created_at": START - timedelta(days=DAYS),
            "updated_at": START,
        }

    def order_items_row(self) -> dict:
        return {
            "order_item_id": self.any("item"),
            "order_id": self.any("order"),
            "product_id": self.any("product"),
            "quantity": self.chance.randrange(1, 9),
            "unit_price": self.money(),
            "discount": Decimal(0),
            "created_at": self.time(),
        }

    def payments_row(self) -> dict:
        return {
            "payment_id": self.any("payment"),
            "order_id": self.any("order"),
            "amount": self.money(),
            "payment_method": "card",
            "payment_status": self.chance.choice(("pending", "succeeded", "failed")),
            "transaction_id": None,
            "payment_date": None,
            "created_at": self.time(),
        }

    def reviews_row(self) -> dict:
        return {
            "review_id": self.any("review"),
            "product_id": self.any("product"),
            "customer_id": None,
            "rating": self.chance.randrange(1, 6),
            "title": None,
            "body": None,
            "created_at": self.time(),
        }

    def click(self) -> dict:
        """Close enough to others of the visitor that sessions join, and at times exactly half an hour later."""
        if self.clicks and self.chance.random() < 0.08:
            # The same id in another session is another event.
            return {**self.chance.choice(self.clicks), "session_id": self.any("session")}
        kinds = ("page_view", "product_view", "search", "add_to_cart", "checkout", "purchase")
        click = {
            "event_id": self.uuid(),
            "session_id": self.any("session"),
            "visitor_id": self.any("visitor"),
            "customer_id": None,
            "event_type": self.chance.choice(kinds),
            "page": None,
            "product_id": self.chance.choice((self.any("product"), None)),
            "search_query": None,
            "referrer": None,
            "device": "mobile",
            "country": None,
            "occurred_at": START + timedelta(minutes=15 * self.chance.randrange(200)),
        }
        self.clicks.append(click)
        return click

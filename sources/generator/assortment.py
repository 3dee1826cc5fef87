"""The shop's products: listed, repriced, sold, restocked, put into another category, taken off. Pure."""

from datetime import datetime
from decimal import Decimal

from sources.generator.entity import Entity
from sources.generator.stage import DAY, Stage
from sources.generator.vocabulary import ADJECTIVES, CATALOGUE, MATERIALS

CENT = Decimal("0.01")
AT_START, AT_MOST, AT_LEAST = 80, 400, 40
SHELVES = [(category, sub, *what) for category, subs in CATALOGUE.items() for sub, what in subs.items()]


class Assortment:
    """All products on sale, best-sellers first."""

    def __init__(self, stage: Stage, start: datetime) -> None:
        self._stage = stage
        self.on_sale: list[Entity] = []
        for _ in range(AT_START):
            listed = start - stage.chance.between(30 * DAY, 700 * DAY)
            self._list(start, listed, "r", len(self.on_sale))

    def browse(self) -> Entity:
        """A product that a visitor comes across."""
        return self._stage.chance.favourite(self.on_sale)

    def sell(self, product: Entity, quantity: int, now: datetime) -> None:
        """Take pieces from the stock; restock when it runs low."""
        left = product.row["stock_quantity"] - quantity
        if left < 5:
            left += 200
        self._stage.tell(product, "u", now, stock_quantity=left)

    def reprice(self, now: datetime) -> None:
        chance = self._stage.chance
        product = chance.pick(self.on_sale)
        factor = Decimal(chance.pick(("0.80", "0.90", "0.95", "1.05", "1.10", "1.15")))
        price = max((product.row["price"] * factor).quantize(CENT), product.row["cost"])
        self._stage.tell(product, "u", now, price=price)

    def recategorise(self, now: datetime) -> None:
        """A product stood on the wrong shelf: its whole history moves with it."""
        chance = self._stage.chance
        product = chance.pick(self.on_sale)
        category, subcategory = chance.pick([s[:2] for s in SHELVES if s[1] != product.row["subcategory"]])
        self._stage.tell(product, "u", now, category=category, subcategory=subcategory)

    def grow(self, now: datetime) -> None:
        """List one more product, somewhere among the others; once the shop is full, take one off instead."""
        if len(self.on_sale) < AT_MOST:
            self._list(now, now, "c", self._stage.chance.randrange(len(self.on_sale)))
        else:
            self.shrink(now)

    def shrink(self, now: datetime) -> None:
        """Take a product off for good. Carts and orders that hold it keep it."""
        if len(self.on_sale) > AT_LEAST:
            product = self.on_sale.pop(self._stage.chance.randrange(len(self.on_sale)))
            self._stage.tell(product, "d", now)

    def _list(self, now: datetime, listed: datetime, op: str, rank: int) -> None:
        chance = self._stage.chance
        category, subcategory, low, high, nouns = chance.pick(SHELVES)
        noun, adjective, material = chance.pick(nouns), chance.pick(ADJECTIVES), chance.pick(MATERIALS)
        # squared: most products are near the lower end of their range
        whole = int(low + (high - low) * chance.random() ** 2)
        price = Decimal(whole) + Decimal(chance.pick(("0.99", "0.95", "0.49", "0.00")))
        product_id = chance.uuid()
        row = {
            "product_id": product_id,
            "name": f"{adjective} {material} {noun}",
            "description": f"{noun} in {material.lower()}, {adjective.lower()}."
            if chance.happens(0.8)
            else None,
            "category": category,
            "subcategory": subcategory,
            "price": price,
            "cost": (price * chance.randrange(45, 76) / 100).quantize(CENT),
            "sku": f"{subcategory[:3].upper().strip()}-{product_id[-10:].upper()}",
            "stock_quantity": chance.randrange(20, 500),
            "created_at": listed,
            "updated_at": listed,
        }
        product = Entity("products", product_id, row)
        self.on_sale.insert(rank, product)
        self._stage.tell(product, op, now)

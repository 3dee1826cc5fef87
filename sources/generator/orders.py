"""An order's life: placed, paid at the first attempt or a later one, corrected, shipped, delivered, given back.

Pure.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from sources.generator.assortment import CENT, Assortment
from sources.generator.clientele import Clientele, Visitor
from sources.generator.entity import Entity
from sources.generator.randomness import Weighted
from sources.generator.stage import DAY, HOUR, Stage
from sources.generator.vocabulary import PAYMENT_METHODS, RATINGS, REVIEW_TITLES

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
METHOD = Weighted(PAYMENT_METHODS)
RATING = Weighted(RATINGS)
FREE_SHIPPING_FROM, SHIPPING = Decimal(50), Decimal("4.90")

# shares
SIGNS_UP, WITHOUT_COUNTRY, DISCOUNTED = 0.5, 0.02, 0.15
PAYMENT_FAILS, TRIES_AGAIN, ATTEMPTS = 0.12, 0.7, 3
CORRECTED, CANCELLED, GIVEN_BACK = 0.05, 0.04, 0.07
STOCK_COUNTED, REVIEWED, REVIEW_EDITED, REVIEW_DELETED = 0.3, 0.3, 0.1, 0.06

Cart = list[tuple[Entity, int]]


class Orders:
    """Takes orders and plans what becomes of them."""

    def __init__(self, stage: Stage, assortment: Assortment, clientele: Clientele) -> None:
        self.stage = stage
        self.assortment = assortment
        self._clientele = clientele

    def place(self, visitor: Visitor, cart: Cart, now: datetime) -> None:
        """Turn a cart into an order with its lines and a first attempt to pay."""
        chance = self.stage.chance
        customer = visitor.customer
        if customer is None and chance.happens(SIGNS_UP):
            customer = self._clientele.sign_up(visitor, now)
        at = self.stage.happened(now)
        order_id = chance.uuid()
        lines = [self._line(order_id, product, quantity, at) for product, quantity in cart]
        row = {
            "order_id": order_id,
            "customer_id": customer and customer.id,
            "order_date": at,
            "status": "placed",
            "total_amount": total(lines),
            "shipping_address": _address(customer) if customer else None,
            "shipping_country": None if chance.happens(WITHOUT_COUNTRY) else visitor.country,
            "payment_method": METHOD.pick(chance),
            "created_at": at,
            "updated_at": at,
        }
        order = Order(self, Entity("orders", order_id, row), lines, cart)
        self.stage.tell(order.entity, "c", now, at)
        for line in lines:
            self.stage.tell(line, "c", now, at)
        order.pay(now, at)

    def _line(self, order_id: str, product: Entity, quantity: int, at: datetime) -> Entity:
        chance = self.stage.chance
        unit_price, discount = product.row["price"], Decimal(0)
        if chance.happens(DISCOUNTED):
            discount = (unit_price * quantity * chance.randrange(5, 31) / 100).quantize(CENT)
        item_id = chance.uuid()
        row = {
            "order_item_id": item_id,
            "order_id": order_id,
            "product_id": product.id,
            "quantity": quantity,
            "unit_price": unit_price,
            "discount": discount,
            "created_at": at,
        }
        return Entity("order_items", item_id, row)


class Order:
    """One order, from its first payment on. Its methods are the follow-ups that the agenda calls."""

    def __init__(self, orders: Orders, entity: Entity, lines: list[Entity], cart: Cart) -> None:
        self._stage = orders.stage
        self._assortment = orders.assortment
        self.entity = entity
        self._lines = lines
        self._cart = cart
        self._payment: Entity | None = None
        self._attempts = 0

    def pay(self, now: datetime, at: datetime | None = None) -> None:
        """Begin an attempt to pay; whoever pays in cash does so at the door."""
        chance = self._stage.chance
        payment_id = chance.uuid()
        row = {
            "payment_id": payment_id,
            "order_id": self.entity.id,
            "amount": self.entity.row["total_amount"],
            "payment_method": self.entity.row["payment_method"],
            "payment_status": "pending",
            "transaction_id": None,
            "payment_date": None,
            "created_at": at or now,
        }
        self._attempts += 1
        self._payment = Entity("payments", payment_id, row)
        self._stage.tell(self._payment, "c", now, at)
        if row["payment_method"] == "cash_on_delivery":
            self._stage.after(now, 4 * HOUR, 36 * HOUR, self.ship)
        else:
            self._stage.soon(now, SECOND, 20 * SECOND, self.answer)

    def answer(self, now: datetime) -> None:
        """The payment provider answers."""
        chance = self._stage.chance
        if not chance.happens(PAYMENT_FAILS):
            self._succeed(now)
            self._status(now, "paid")
            if chance.happens(CORRECTED):
                self._stage.after(now, HOUR, 4 * HOUR, self.correct)
            self._stage.after(now, 4 * HOUR, 36 * HOUR, self.ship)
            return
        self._stage.tell(self._payment, "u", now, payment_status="failed", payment_date=now)
        if self._attempts < ATTEMPTS and chance.happens(TRIES_AGAIN):
            self._stage.soon(now, 10 * SECOND, 2 * MINUTE, self.pay)
        else:
            self._status(now, "cancelled")

    def correct(self, now: datetime) -> None:
        """A line was wrong: it is taken off, or gets a further discount. The order's total follows."""
        if self.entity.row["status"] != "paid":
            return
        line = self._stage.chance.pick(self._lines)
        if len(self._lines) > 1 and self._stage.chance.happens(0.5):
            self._lines = [other for other in self._lines if other is not line]
            self._stage.tell(line, "d", now)
        else:
            rest = line.row["quantity"] * line.row["unit_price"] - line.row["discount"]
            self._stage.tell(line, "u", now, discount=line.row["discount"] + (rest / 4).quantize(CENT))
        self._status(now, "paid", total_amount=total(self._lines))

    def ship(self, now: datetime) -> None:
        """The parcel leaves, unless the customer cancels before."""
        chance = self._stage.chance
        if chance.happens(CANCELLED):
            self._pay_back(now)
            self._status(now, "cancelled")
            return
        self._status(now, "shipped")
        for product, quantity in self._cart:
            if chance.happens(STOCK_COUNTED) and product in self._assortment.on_sale:
                self._assortment.sell(product, quantity, now)
        self._stage.after(now, DAY, 4 * DAY, self.deliver)

    def deliver(self, now: datetime) -> None:
        """The parcel arrives; some come back, some buyers write a review."""
        chance = self._stage.chance
        if self._payment.row["payment_status"] == "pending":
            self._succeed(now)
        self._status(now, "delivered")
        if chance.happens(GIVEN_BACK):
            self._stage.after(now, DAY, 10 * DAY, self.refund)
        if chance.happens(REVIEWED):
            self._stage.after(now, DAY, 7 * DAY, self.review)

    def refund(self, now: datetime) -> None:
        self._pay_back(now)
        self._status(now, "refunded")

    def review(self, now: datetime) -> None:
        """A review of one line's product, which its author may edit or take back."""
        chance = self._stage.chance
        at, rating, review_id = self._stage.happened(now), RATING.pick(chance), chance.uuid()
        title = chance.pick(REVIEW_TITLES[rating])
        row = {
            "review_id": review_id,
            "product_id": chance.pick(self._lines).row["product_id"],
            "customer_id": self.entity.row["customer_id"],
            "rating": rating,
            "title": title if chance.happens(0.8) else None,
            "body": f"{title}. Would {'' if rating > 3 else 'not '}recommend."
            if chance.happens(0.5)
            else None,
            "created_at": at,
        }
        review = Entity("reviews", review_id, row)
        tell = self._stage.tell
        tell(review, "c", now, at)
        if chance.happens(REVIEW_EDITED):
            other = RATING.pick(chance)
            self._stage.after(now, HOUR, DAY, lambda later: tell(review, "u", later, rating=other))
        if chance.happens(REVIEW_DELETED):
            self._stage.after(now, DAY, 2 * DAY, lambda later: tell(review, "d", later))

    def _succeed(self, now: datetime) -> None:
        reference = f"tx_{self._payment.id[-12:]}"
        self._stage.tell(
            self._payment, "u", now, payment_status="succeeded", payment_date=now, transaction_id=reference
        )

    def _pay_back(self, now: datetime) -> None:
        if self._payment.row["payment_status"] == "succeeded":
            self._stage.tell(self._payment, "u", now, payment_status="refunded")

    def _status(self, now: datetime, status: str, **changes: Decimal) -> None:
        self._stage.tell(self.entity, "u", now, status=status, **changes)


def total(lines: list[Entity]) -> Decimal:
    """What the customer owes: the lines, and shipping below a threshold."""
    goods = sum((x.row["quantity"] * x.row["unit_price"] - x.row["discount"] for x in lines), Decimal(0))
    return goods if goods >= FREE_SHIPPING_FROM else goods + SHIPPING


def _address(customer: Entity) -> str:
    row = customer.row
    return f"{row['address_line1']}, {row['postal_code']} {row['city']}"

"""A visit: one session's clicks, from landing on a page to leaving or buying. Pure."""

from datetime import datetime, timedelta

from sources.generator.assortment import Assortment
from sources.generator.clientele import Visitor
from sources.generator.entity import Entity
from sources.generator.orders import Cart, Orders
from sources.generator.randomness import Weighted
from sources.generator.stage import Fact, Stage
from sources.generator.vocabulary import ADJECTIVES, CATALOGUE, PAGES, QUANTITIES, REFERRERS

REFERRER, QUANTITY = Weighted(REFERRERS), Weighted(QUANTITIES)
LANDING = Weighted({"page_view": 70.0, "product_view": 22.0, "search": 8.0})
NOUNS = [noun for subs in CATALOGUE.values() for *_, nouns in subs.values() for noun in nouns]

# What a visitor does next; "leave" gives no event.
BROWSING = Weighted({"product_view": 50.0, "page_view": 17.0, "search": 15.0, "leave": 18.0})
AT_PRODUCT = Weighted(
    {"product_view": 38.0, "add_to_cart": 15.0, "page_view": 12.0, "search": 10.0, "leave": 25.0}
)
WITH_CART = Weighted(
    {
        "checkout": 24.0,
        "product_view": 40.0,
        "remove_from_cart": 7.0,
        "page_view": 9.0,
        "search": 6.0,
        "leave": 14.0,
    }
)
CART_AND_PRODUCT = Weighted({"add_to_cart": 34.0, "checkout": 14.0, "product_view": 34.0, "leave": 18.0})
AT_CHECKOUT = Weighted({"purchase": 66.0, "page_view": 8.0, "leave": 26.0})

SHORTEST_THOUGHT, LONGEST_THOUGHT = timedelta(seconds=2), timedelta(seconds=40)


class Visit:
    """One session. `step` is the visitor's next click."""

    __slots__ = ("_cart", "_done", "_looking_at", "_orders", "_session_id", "_stage", "_visitor", "_where")

    def __init__(self, stage: Stage, orders: Orders, visitor: Visitor) -> None:
        self._stage = stage
        self._orders = orders
        self._visitor = visitor
        self._session_id = stage.chance.uuid()
        self._cart: Cart = []
        self._looking_at: Entity | None = None
        self._where = LANDING
        self._done: list[dict] = []

    def step(self, now: datetime) -> bool:
        """Click, or leave. Returns whether the visit goes on."""
        what = self._where.pick(self._stage.chance)
        if what == "leave":
            return False
        getattr(self, "_" + what)(now)
        return what != "purchase"

    @property
    def _assortment(self) -> Assortment:
        return self._orders.assortment

    def _page_view(self, now: datetime) -> None:
        page = self._stage.chance.pick(PAGES)
        self._click("page_view", now, page="/" if self._where is LANDING else page)
        self._browse()

    def _search(self, now: datetime) -> None:
        chance = self._stage.chance
        words = chance.pick(NOUNS).lower()
        if chance.happens(0.3):
            words = f"{chance.pick(ADJECTIVES).lower()} {words}"
        self._click("search", now, page="/search", search_query=words)
        self._browse()

    def _product_view(self, now: datetime) -> None:
        product = self._looking_at = self._assortment.browse()
        self._click("product_view", now, page=f"/product/{product.row['sku']}", product_id=product.id)
        self._where = CART_AND_PRODUCT if self._cart else AT_PRODUCT

    def _add_to_cart(self, now: datetime) -> None:
        product = self._looking_at
        # a second line of the same product would be one line with more pieces
        if all(other is not product for other, _ in self._cart):
            self._cart.append((product, QUANTITY.pick(self._stage.chance)))
        self._click("add_to_cart", now, page=f"/product/{product.row['sku']}", product_id=product.id)
        self._where = WITH_CART

    def _remove_from_cart(self, now: datetime) -> None:
        product, _ = self._cart.pop(self._stage.chance.randrange(len(self._cart)))
        self._click("remove_from_cart", now, page="/cart", product_id=product.id)
        self._browse()

    def _checkout(self, now: datetime) -> None:
        self._click("checkout", now, page="/checkout")
        self._where = AT_CHECKOUT

    def _purchase(self, now: datetime) -> None:
        self._click("purchase", now, page="/checkout/done")
        self._orders.place(self._visitor, self._cart, now)

    def _browse(self) -> None:
        self._where = WITH_CART if self._cart else BROWSING

    def _click(
        self,
        event_type: str,
        now: datetime,
        page: str,
        product_id: str | None = None,
        search_query: str | None = None,
    ) -> None:
        visitor, chance = self._visitor, self._stage.chance
        event = {
            "event_id": chance.uuid(),
            "session_id": self._session_id,
            "visitor_id": visitor.visitor_id,
            "customer_id": visitor.customer and visitor.customer.id,
            "event_type": event_type,
            "page": page,
            "product_id": product_id,
            "search_query": search_query,
            "referrer": None if self._done else REFERRER.pick(chance),
            "device": visitor.device,
            "country": visitor.country,
            "occurred_at": now,
        }
        self._stage.facts.append(Fact("clickstream", event, False))
        self._done.append(event)
        if self._stage.is_late():
            # The same page was opened earlier, on a device that was offline then: it may well be the session's first
            # event of its stage, so that the funnel counts the session in an earlier bucket than before.
            at = now - self._stage.lateness()
            again = {**chance.pick(self._done), "event_id": chance.uuid(), "occurred_at": at}
            self._stage.facts.append(Fact("clickstream", again, True))

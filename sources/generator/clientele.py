"""Who comes to the shop: customers, guests, their devices and countries; sign-ups, moves, deletions. Pure."""

import re
import unicodedata
from datetime import datetime

from sources.generator.entity import Entity
from sources.generator.randomness import Weighted
from sources.generator.stage import DAY, HOUR, Stage
from sources.generator.vocabulary import (
    COUNTRIES,
    DEVICES,
    FIRST_NAMES,
    HOURS,
    LAST_NAMES,
    MAIL_HOSTS,
    STREETS,
)

AT_START, REMEMBERED = 60, 20_000
RETURNING = 0.55  # of the visits


def hour_weights() -> list[float]:
    """Visits by hour of the day in UTC: each country keeps its own day."""
    return [sum(w * HOURS[(h + ahead) % 24] for w, ahead, _ in COUNTRIES.values()) for h in range(24)]


# by hour in UTC: who is awake
AWAKE = [
    Weighted({c: w * HOURS[(h + ahead) % 24] for c, (w, ahead, _) in COUNTRIES.items()}) for h in range(24)
]
DEVICE = Weighted(DEVICES)


class Visitor:
    """A browser or app, and the customer behind it, if it is known."""

    __slots__ = ("country", "customer", "device", "visitor_id")

    def __init__(self, visitor_id: str, device: str, country: str, customer: Entity | None = None) -> None:
        self.visitor_id = visitor_id
        self.device = device
        self.country = country
        self.customer = customer


class Clientele:
    """Everybody whom the shop has seen, up to REMEMBERED; beyond that new faces take the place of old ones."""

    def __init__(self, stage: Stage, start: datetime) -> None:
        self._stage = stage
        self.seen: list[Visitor] = []
        for _ in range(AT_START):
            visitor = self._newcomer(start)
            joined = start - stage.chance.between(DAY, 400 * DAY)
            visitor.customer = self._customer(visitor, joined)
            stage.tell(visitor.customer, "r", start)

    def arrive(self, now: datetime) -> Visitor:
        """Somebody who opens the shop's page."""
        if self._stage.chance.happens(RETURNING):
            return self._stage.chance.pick(self.seen)
        return self._newcomer(now)

    def sign_up(self, visitor: Visitor, now: datetime) -> Entity:
        """A guest becomes a customer."""
        at = self._stage.happened(now)
        visitor.customer = self._customer(visitor, at)
        self._stage.tell(visitor.customer, "c", now, at)
        return visitor.customer

    def change_somebody(self, now: datetime) -> None:
        """A customer moves, or gets another telephone."""
        customer = self._somebody().customer
        if customer is None:
            return
        if self._stage.chance.happens(0.6):
            country = customer.row["country"] or "US"
            self._stage.tell(customer, "u", now, **self._home(country))
        else:
            self._stage.tell(customer, "u", now, phone=self._phone())

    def delete_somebody(self, now: datetime) -> None:
        """A customer asks to be forgotten; some come back under the same id."""
        visitor = self._somebody()
        customer, visitor.customer = visitor.customer, None
        if customer is None:
            return
        self._stage.tell(customer, "d", now)
        if self._stage.chance.happens(0.3):

            def come_back(later: datetime) -> None:
                self._stage.tell(customer, "c", later, created_at=later)
                visitor.customer = visitor.customer or customer

            self._stage.after(now, HOUR, 3 * DAY, come_back)

    def _somebody(self) -> Visitor:
        return self._stage.chance.pick(self.seen)

    def _newcomer(self, now: datetime) -> Visitor:
        chance = self._stage.chance
        visitor = Visitor(chance.uuid(), DEVICE.pick(chance), AWAKE[now.hour].pick(chance))
        if len(self.seen) < REMEMBERED:
            self.seen.append(visitor)
        else:
            self.seen[chance.randrange(REMEMBERED)] = visitor
        return visitor

    def _customer(self, visitor: Visitor, at: datetime) -> Entity:
        chance = self._stage.chance
        first, last, customer_id = chance.pick(FIRST_NAMES), chance.pick(LAST_NAMES), chance.uuid()
        row = {
            "customer_id": customer_id,
            # a part of the id keeps addresses unique among all runs
            "email": f"{ascii_name(first)}.{ascii_name(last)}.{customer_id[-8:]}@{chance.pick(MAIL_HOSTS)}",
            "first_name": first,
            "last_name": last,
            "phone": self._phone() if chance.happens(0.6) else None,
            **self._home(visitor.country),
            "country": visitor.country if chance.happens(0.97) else None,
            "created_at": at,
            "updated_at": at,
        }
        return Entity("customers", customer_id, row)

    def _home(self, country: str) -> dict[str, str | None]:
        chance = self._stage.chance
        city, postal_code = chance.pick(COUNTRIES[country][2])
        return {
            "address_line1": f"{chance.pick(STREETS)} {chance.randrange(1, 200)}",
            "address_line2": f"Apt {chance.randrange(1, 60)}" if chance.happens(0.2) else None,
            "city": city,
            "state": None,
            "postal_code": postal_code,
        }

    def _phone(self) -> str:
        return f"+{self._stage.chance.randrange(10**10, 10**11)}"


def ascii_name(name: str) -> str:
    """A name as it stands in an e-mail address."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z]", "", plain)

"""The shop's story: visits, orders and what follows from them, one event after another.

Pure: the caller says what time it is at each step, the seed decides everything else. The story is tidy; `faults.py`
makes the untidy delivery out of it.
"""

from datetime import datetime
from functools import partial

from sources.generator.assortment import Assortment
from sources.generator.clientele import Clientele
from sources.generator.orders import Orders
from sources.generator.randomness import Chance
from sources.generator.stage import Agenda, Fact, Stage
from sources.generator.visits import LONGEST_THOUGHT, SHORTEST_THOUGHT, Visit

# Beyond these the next one in line is taken up before it is due: memory stays bounded and the rate is kept,
# whatever rate is asked for.
VISITS_AT_ONCE = 300
OPEN_FOLLOW_UPS = 50_000

# per visit
PRICE_CHANGES, CATEGORY_CORRECTED, PRODUCT_LISTED, PRODUCT_TAKEN_OFF = 0.02, 0.003, 0.006, 0.0015
CUSTOMER_CHANGES, CUSTOMER_DELETED = 0.025, 0.004


class Shop:
    """One shop. `next_fact(now)` is what happens next."""

    def __init__(self, chance: Chance, start: datetime, tempo: float, late: float) -> None:
        self._stage = Stage(chance, tempo, late)
        self._assortment = Assortment(self._stage, start)
        self._clientele = Clientele(self._stage, start)
        self._orders = Orders(self._stage, self._assortment, self._clientele)
        self._visits = Agenda()

    def next_fact(self, now: datetime) -> Fact:
        """The next event, with `now` as the time at which it happens."""
        facts = self._stage.facts
        while not facts:
            self._step(now)
        return facts.popleft()

    def _step(self, now: datetime) -> None:
        agenda, visits = self._stage.agenda, self._visits
        if agenda.is_due(now) or len(agenda) > OPEN_FOLLOW_UPS:
            agenda.run_next(now)
        elif visits.is_due(now) or len(visits) >= VISITS_AT_ONCE:
            visits.run_next(now)
        else:
            self._daily_work(now)
            self._go_on(Visit(self._stage, self._orders, self._clientele.arrive(now)), now)

    def _go_on(self, visit: Visit, now: datetime) -> None:
        if visit.step(now):
            thought = self._stage.chance.between(SHORTEST_THOUGHT, LONGEST_THOUGHT)
            self._visits.plan(now + thought, partial(self._go_on, visit))

    def _daily_work(self, now: datetime) -> None:
        happens = self._stage.chance.happens
        if happens(PRICE_CHANGES):
            self._assortment.reprice(now)
        if happens(CATEGORY_CORRECTED):
            self._assortment.recategorise(now)
        if happens(PRODUCT_LISTED):
            self._assortment.grow(now)
        if happens(PRODUCT_TAKEN_OFF):
            self._assortment.shrink(now)
        if happens(CUSTOMER_CHANGES):
            self._clientele.change_somebody(now)
        if happens(CUSTOMER_DELETED):
            self._clientele.delete_somebody(now)

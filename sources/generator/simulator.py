"""The generator: a seeded shop, delivered as untidily as the dials say, with the ground truth of what was delivered.

Pure: no clock, no global randomness. The same seed, parameters and times give the same bytes. Reads and writes
nothing; `sources/producer.py` takes what it emits to Kafka.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from schemas.errors import SettingsError
from sources.codec import EventCodec
from sources.generator.dials import Dials
from sources.generator.emission import Emission
from sources.generator.faults import Faults
from sources.generator.randomness import Chance
from sources.generator.rule_breaking import NEVER, TWO_DAYS
from sources.generator.shop import Shop
from sources.generator.truth import GroundTruth

# How many times faster than in life parcels travel: in a live demo a day passes in a minute.
LIVE_TEMPO = 1440.0
LIFE_TEMPO = 1.0


class ShopSimulator:
    """A shop whose records come one at a time.

    `seed` and `start` (aware) make the ids, so that two runs with another seed or start share none. `schema_ids` are
    the registry's, by topic. `live` says that the caller's times are those of a clock: parcels then travel faster, so
    that an order's whole life can be watched, and a time "two days ahead" is counted from that clock; in a history it
    is a far year. `tempo` overrides the speed of parcels. `truth`, where given, is kept up to date with what was
    emitted; it grows with the number of entities, so a run without end does without.
    """

    def __init__(
        self,
        seed: int,
        start: datetime,
        schema_ids: Mapping[str, int],
        dials: Dials | None = None,
        *,
        live: bool = False,
        tempo: float | None = None,
        truth: GroundTruth | None = None,
    ) -> None:
        if start.tzinfo is None:
            raise SettingsError("start needs a time zone, such as a Z at its end")
        self.seed = seed
        self.start = start.astimezone(UTC)
        self.dials = Dials() if dials is None else dials
        self.truth = truth
        self._live = live
        name = f"{seed}|{self.start.isoformat()}"
        if tempo is None:
            tempo = LIVE_TEMPO if live else LIFE_TEMPO
        self._shop = Shop(Chance(name), self.start, tempo, self.dials.late)
        self._faults = Faults(Chance(name + "|faults"), self.dials, EventCodec(schema_ids))
        self._waiting: deque[Emission] = deque()

    def next(self, now: datetime) -> Emission:
        """The next record, with `now` (UTC) as the time of what happens.

        Times may stand still or even go back, as clocks do; versions grow all the same.
        """
        while not self._waiting:
            ahead = now + TWO_DAYS if self._live else NEVER
            self._waiting.extend(self._faults.deliver(self._shop.next_fact(now), ahead))
        emission = self._waiting.popleft()
        if self.truth is not None:
            self.truth.record(emission)
        return emission

    def emissions(self, times: Iterable[datetime]) -> Iterator[Emission]:
        """One record for each of `times`, see `rhythm.moments` and `next`."""
        for now in times:
            yield self.next(now)

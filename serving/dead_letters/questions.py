"""Questions about the dead letters, answered from an index that follows them; only what is older is read anew.

Reads the letters that somebody wants to see whole, and, where the index does not reach back to the beginning, the
older ones: as slowly as without an index.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import DEAD_LETTER
from serving.dead_letters.follow import Follower
from serving.dead_letters.letter import DeadLetter
from serving.dead_letters.scan import Order, Read, Wanted, copies_of, newest, partition_of, summarize
from serving.materializer.prober import Prober

# A letter is written after the broker took its record. So much may the clocks differ.
CLOCKS_MICROS = 60_000_000
COPIES_AT_MOST = 50  # that are fetched one by one


class Within(Protocol):
    """Bounds of one question."""

    read: Read
    check: Callable[[], None]  # raises when it has taken too long


class Questions:
    """All answers are of the letters as the topic held them when the question was asked."""

    def __init__(self, settings: Settings, follower: Follower) -> None:
        self._settings, self._follower = settings, follower

    def newest(
        self, wanted: Wanted, limit: int, before: Order | None, within: Within
    ) -> tuple[list[DeadLetter], bool, set[str]]:
        """The newest `limit` that are wanted, newest first; whether there are more; which of them were put back."""
        index = self._follower.catch_up(within.check)
        older = self._follower.older()
        found, more = index.newest(wanted, limit, before)
        if older:
            # Those that are not in the index were written, and so taken, before the oldest that is.
            reach = max(index.first_written(p) for p in older) + CLOCKS_MICROS
            if len(found) < limit or found[-1].time <= reach:
                found, more = newest(lambda: self._all(older, within), wanted, limit, before)
            else:
                more = True
        return found, more, index.redriven(letter.id for letter in found)

    def summarize(self, wanted: Wanted, within: Within) -> tuple[int, Counter[tuple[str, str]]]:
        """How many letters are wanted, and how many by (source topic, reason)."""
        index = self._follower.catch_up(within.check)
        older = self._follower.older()
        return summarize(self._all(older, within), wanted) if older else index.summarize(wanted)

    def copies(self, letter_id: str, within: Within) -> tuple[Sequence[DeadLetter], bool]:
        """Every copy of one letter with its bytes, oldest first, and whether it was put back."""
        index = self._follower.catch_up(within.check)
        places, older = index.places(letter_id), self._follower.older()
        partition = partition_of(letter_id)
        redriven = bool(index.redriven([letter_id]))
        complete = not older if partition is None else partition not in older
        if complete and len(places) <= COPIES_AT_MOST:
            try:
                return self._fetch(places), redriven
            except Unavailable:
                # Retention may have taken one just now; if the broker is silent, the next line says so.
                pass
        return copies_of(self._settings, letter_id, within.read), redriven

    def _all(self, older: Mapping[int, int], within: Within) -> Iterator[DeadLetter]:
        """What the index does not hold, from the topic, then what it does."""
        for partition, floor in older.items():
            for letter in within.read(self._settings, (partition,)):
                if letter.offset >= floor:
                    break
                yield letter
        for letter in self._follower.index.entries():
            within.check()
            yield letter

    def _fetch(self, places: Sequence[tuple[int, int]]) -> list[DeadLetter]:
        if not places:
            return []
        prober = Prober(self._settings)
        try:
            found = [DeadLetter.of(prober.record(DEAD_LETTER, *place)) for place in places]
        finally:
            prober.close()
        return sorted(found, key=lambda each: (each.written, each.partition, each.offset))

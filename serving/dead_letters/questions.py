"""Questions about the dead letters, answered from an index that follows them; only what is older is read anew.

Reads the letters that somebody wants to see whole, and, where the index does not reach back to the beginning, the
older ones: as slowly as without an index.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from infra.settings import Settings
from schemas.errors import Unavailable
from serving.dead_letters.follow import Follower
from serving.dead_letters.index import LetterIndex
from serving.dead_letters.letter import At, DeadLetter, Order, Place
from serving.dead_letters.scan import Read, Wanted, by_age, copies_of, newest, partition_of, summarize
from serving.materializer.prober import Prober

# A letter is written after the broker took its record. So much may the clocks differ.
CLOCKS_MICROS = 60_000_000
COPIES_AT_MOST = 50  # that are fetched one by one


class Within(Protocol):
    """Bounds of one question."""

    read: Read
    check: Callable[[], None]  # raises when it has taken too long


class Listed(NamedTuple):
    """Letters of a generation and of imports, newest first; `more`: there are older ones; which were put `redriven`."""

    generation: str
    letters: list[DeadLetter]
    more: bool
    redriven: set[str]


class Counted(NamedTuple):
    """How many letters of a generation and of imports there are, and how many by (source topic, reason)."""

    generation: str
    letters: int
    counts: Counter[tuple[str, str]]


class Questions:
    """All answers are of the letters of one generation as the topics held them when the question was asked."""

    def __init__(self, settings: Settings, follower: Follower) -> None:
        self._settings, self._follower = settings, follower

    def newest(self, wanted: Wanted, limit: int, before: Order | None, within: Within) -> Listed:
        """The newest `limit` that are wanted, of those whose order is below `before`."""
        index = self._follower.catch_up(within.check)
        older = index.older()
        found, more = index.newest(wanted, limit, before)
        if older:
            # Those that are not in the index were written, and so taken, before the oldest of their partition that is.
            reach = [index.first_written(at) for at in older]
            if len(found) < limit or None in reach or found[-1].time <= max(reach) + CLOCKS_MICROS:
                found, more = newest(lambda: self._all(index, older, within), wanted, limit, before)
            else:
                more = True
        redriven = index.redriven(letter.id for letter in found)
        return Listed(index.topics.generation, found, more, redriven)

    def summarize(self, wanted: Wanted, within: Within) -> Counted:
        """How many of those that are wanted there are."""
        index = self._follower.catch_up(within.check)
        older = index.older()
        found = summarize(self._all(index, older, within), wanted) if older else index.summarize(wanted)
        return Counted(index.topics.generation, *found)

    def copies(self, letter_id: str, within: Within) -> tuple[Sequence[DeadLetter], bool]:
        """Every copy of one letter with its bytes, oldest first, and whether it was put back."""
        index = self._follower.catch_up(within.check)
        places, older = index.places(letter_id), index.older()
        partition = partition_of(letter_id)
        redriven = bool(index.redriven([letter_id]))
        complete = not any(partition in (None, p) for _, p in older)
        if complete and len(places) <= COPIES_AT_MOST:
            try:
                return self._fetch(places), redriven
            except Unavailable:
                # Retention may have taken one just now; if the broker is silent, the next line says so.
                pass
        return copies_of(self._settings, index.topics, letter_id, within.read), redriven

    def _all(self, index: LetterIndex, older: Mapping[At, int], within: Within) -> Iterator[DeadLetter]:
        """Topic by topic what the index does not hold, read anew, then what it does."""
        for name in index.topics.names:
            for at, floor in older.items():
                if at[0] != name:
                    continue
                for letter in within.read(self._settings, index.topics, [at]):
                    if letter.offset >= floor:
                        break
                    yield letter
            for letter in index.entries(name):
                within.check()
                yield letter

    def _fetch(self, places: Sequence[Place]) -> list[DeadLetter]:
        if not places:
            return []
        prober = Prober(self._settings)
        try:
            found = [
                DeadLetter.of(prober.record(topic.removeprefix(self._settings.topic_prefix), *at))
                for topic, *at in places
            ]
        finally:
            prober.close()
        return sorted(found, key=by_age)

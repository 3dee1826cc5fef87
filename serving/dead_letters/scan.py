"""Look through the dead letters: the newest that somebody wants, how many there are of which kind, one by its id.

Reads the topics of one generation's letters (see `topics`) from their beginning to where they ended when the reading
began. A restart of the live job repeats letters under the same id; the newest copy stands for all.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from infra.read_topic import read_topic
from infra.settings import Settings
from serving.dead_letters.letter import IMPORT, At, DeadLetter, Order
from serving.dead_letters.topics import LetterTopics

KEPT_AT_LEAST = 10_000  # letters without their bytes, some 1 kB each


@dataclass(frozen=True)
class Wanted:
    """Which letters somebody wants; None means all. `since` ≤ time < `until`, in µs.

    `partition` and `offsets` (first and last) are those of the source topic.

    The topic `import` stands for every import, `import:shop` for those by the mapping shop.
    """

    topic: str | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    partition: int | None = None
    offsets: tuple[int, int] | None = None

    def matches(self, letter: DeadLetter) -> bool:
        return (
            self.is_of_kind(letter.source_topic, letter.reasons)
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time < self.until)
            and (self.partition is None or letter.source_partition == self.partition)
            and (self.offsets is None or self._is_in_offsets(letter))
        )

    def _is_in_offsets(self, letter: DeadLetter) -> bool:
        first, last = self.offsets
        return letter.source_offset is not None and first <= letter.source_offset <= last

    def is_of_kind(self, topic: str, reasons: Sequence[str]) -> bool:
        """Whether letters of this source topic with these reasons may be wanted."""
        of_topic = topic.startswith(IMPORT) if self.topic == IMPORT[:-1] else self.topic in (None, topic)
        return of_topic and (self.reason is None or self.reason in reasons)


def read_letters(
    settings: Settings, topics: LetterTopics, where: Sequence[At] | None = None, *, keep_bytes: bool = False
) -> Iterator[DeadLetter]:
    """Every letter of a generation and of imports, copies too: topic by topic, each partition in its order.

    `where` None means everywhere. Raises what `read_topic` raises.
    """
    for name in topics.names:
        partitions = None if where is None else [p for topic, p in where if topic == name]
        for message in read_topic(settings.kafka_bootstrap_servers, name, partitions):
            letter = DeadLetter.of(message, keep_bytes=keep_bytes)
            if topics.hold(letter):
                yield letter


# `read_letters`, or the same within bounds of somebody's own.
Read = Callable[..., Iterator[DeadLetter]]


def newest(
    read: Callable[[], Iterable[DeadLetter]],
    wanted: Wanted,
    limit: int,
    before: Order | None = None,
) -> tuple[list[DeadLetter], bool]:
    """The newest `limit` letters that are wanted, newest first, and whether there are more.

    Only those whose `order` is below `before`, which is the last one's of the page that somebody has seen.

    Holds a few times `limit` letters, however many there are. `read` is called again, with more room, in the rare case
    that so many kept ones turn out to be superseded by a newer copy that dropped ones are needed after all.
    """
    room = max(4 * limit, KEPT_AT_LEAST)
    while True:
        kept: dict[str, DeadLetter] = {}
        dropped = None  # the order of the newest letter that there was no room for
        for letter in read():
            if wanted.matches(letter) and (before is None or letter.order < before):
                kept[letter.id] = letter
            else:
                kept.pop(letter.id, None)
            if len(kept) > 2 * room:
                by_age = sorted(kept.values(), key=lambda each: each.order, reverse=True)
                kept = {each.id: each for each in by_age[:room]}
                dropped = max(filter(None, (dropped, by_age[room].order)))
        found = sorted(kept.values(), key=lambda each: each.order, reverse=True)[:limit]
        if dropped is None or (len(found) == limit and found[-1].order > dropped):
            return found, dropped is not None or len(kept) > limit
        room *= 8


def summarize(letters: Iterable[DeadLetter], wanted: Wanted) -> tuple[int, Counter[tuple[str, str]]]:
    """How many letters are wanted, and how many by (source topic, reason); one with two reasons counts under both.

    Remembers every wanted id (some 250 bytes each), so that a copy is not counted twice.
    """
    kinds: dict[str, tuple[str, tuple[str, ...]]] = {}
    interned: dict[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]] = {}
    for letter in letters:
        if wanted.matches(letter):
            kind = (letter.source_topic, letter.reasons)
            kinds[letter.id] = interned.setdefault(kind, kind)
        else:
            kinds.pop(letter.id, None)
    counts: Counter[tuple[str, str]] = Counter()
    for (topic, reasons), letters_of_kind in Counter(kinds.values()).items():
        for reason in reasons or ("unknown",):
            counts[topic, reason] += letters_of_kind
    return len(kinds), counts


def copies_of(
    settings: Settings, topics: LetterTopics, letter_id: str, read: Read = read_letters
) -> Sequence[DeadLetter]:
    """Every copy of one letter with its bytes, oldest first; empty if there is none.

    What the live job and the materializer write keeps its source's partition number, so one partition is enough for it.
    """
    partition, copies = partition_of(letter_id), []
    for where in (None,) if partition is None else ([(name, partition) for name in topics.names], None):
        copies = [each for each in read(settings, topics, where, keep_bytes=True) if each.id == letter_id]
        if copies:
            break
    return sorted(copies, key=by_age)


def by_age(copy: DeadLetter) -> tuple[int, str, int, int]:
    """Grows from the oldest copy of a letter to the one that stands for all."""
    return copy.written, *copy.place


def partition_of(letter_id: str) -> int | None:
    """The partition that holds a refused record's letters; None for a line of a file."""
    _, _, rest = letter_id.partition("/")
    partition, _, offset = rest.partition("/")
    is_record = partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()
    return int(partition) if is_record else None

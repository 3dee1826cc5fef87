"""Where the records of a generation are read: what the topics no longer hold from bronze, the rest from Kafka.

A generation may begin before its topics do (see `infra.seams`), and the topics go on losing their beginning while it is
filled. Its own lake's bronze is read first, so another one's is needed only until that has the records. Reads the
newest manifests of both lakes, if there is a need.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from confluent_kafka import Message

from infra.generation import source_bounds, source_identities
from infra.generations import Archive, Generation
from infra.kafka import Offsets
from infra.seams import archived_starts, base_starts
from infra.settings import Settings
from schemas.errors import GenerationError
from streams.bronze import Bronze, Ranges

At = tuple[str, int]


@dataclass(frozen=True)
class Course:
    """How each source partition is read from `since` on: to before `turn` from bronze, from `start` on from Kafka.

    Where `start` is behind `turn`, what lies between is in neither. `bronze` are the lakes to read from, best first.
    """

    since: Offsets
    turn: Offsets
    start: Offsets
    bronze: tuple[Bronze, ...] = ()

    @property
    def lost(self) -> dict[At, tuple[int, int]]:
        """The ranges that are in neither: from, to before."""
        return {at: (turn, self.start[at]) for at, turn in self.turn.items() if turn < self.start[at]}

    def told(self) -> str:
        """The ranges that are in neither, for a message."""
        return ", ".join(
            f"{topic}/{p} from {since} to before {until}" for (topic, p), (since, until) in self.lost.items()
        )

    def parts(self, topic: str, since: Offsets, until: Offsets) -> Iterator[tuple[Bronze, Ranges]]:
        """Which bronze has which records of a topic below the turn."""
        at = {p: offset for (t, p), offset in since.items() if t == topic}
        for bronze in self.bronze:
            ranges = {}
            for p, offset in at.items():
                end = min(until[topic, p], self.turn.get((topic, p), 0), bronze.until.get((topic, p), 0))
                if offset < end:
                    ranges[p], at[p] = (offset, end), end
            if ranges:
                yield bronze, ranges

    def offsets(self, topic: str, partition: int, since: int, until: int) -> list[int]:
        """The offsets of a partition from `since` to before `until` that are records', below the turn."""
        at = topic, partition
        parts = self.parts(topic, {at: since}, {at: until})
        return [o for bronze, ranges in parts for o in bronze.offsets(*at, *ranges[partition])]

    def messages(self, topic: str, partition: int, since: int, until: int) -> Iterator[Message]:
        """The same records as a consumer gives them. Raises Unavailable."""
        at = topic, partition
        for bronze, ranges in self.parts(topic, {at: since}, {at: until}):
            yield from bronze.messages(topic, partition, *ranges[partition])


def plot(
    settings: Settings, generation: Generation, since: Offsets, first: Offsets, *, own: bool = True
) -> Course:
    """The course from `since` on, where Kafka begins at `first`. `own`: its own lake may be read, too."""
    edges = {at: _edge(generation, at, first[at]) for at in since}
    bronze: list[Bronze] = []
    if any(offset < edges[at] for at, offset in since.items()):
        numbers = [generation.number] if own else []
        numbers += [generation.archive.number] if generation.archive else []
        found = (Bronze.of(settings, number, generation) for number in numbers)
        bronze = [each for each in found if each is not None]
    reach = {at: max((each.until.get(at, 0) for each in bronze), default=0) for at in since}
    turn = {at: max(offset, min(edges[at], reach[at])) for at, offset in since.items()}
    start = {at: max(offset, first[at]) for at, offset in turn.items()}
    return Course(dict(since), turn, start, tuple(bronze))


def _edge(generation: Generation, at: At, first: int) -> int:
    """Below which offset a partition is read from bronze, if that has it: its seam, or where Kafka begins by now."""
    seam = generation.archive.seam(*at) if generation.archive else 0
    return max(seam, first) if first > generation.start(*at) else seam


def archive_of(settings: Settings, base: Generation) -> Archive | None:
    """What a new generation needs of the bronze of `base`: all that Kafka no longer holds; None if there is no lake.

    Where Kafka holds everything each seam is 0: what it loses while the generation is filled is in bronze then. Raises
    GenerationError if its newest manifest does not reach to where Kafka begins now; then some is in neither.
    """
    now = replace(base, topics=source_identities(settings))
    first, end = source_bounds(settings, now)
    starts = base_starts(now, base, first)
    seams = {at: offset if offset > starts[at] else 0 for at, offset in first.items()}
    bronze = Bronze.of(settings, base.number, now)
    if bronze is None:
        if not any(seams.values()):
            return None
        raise GenerationError(
            f"expected bronze of {base.name}, since the topics no longer hold all of its records, and it has no lake: "
            "`dataflow generation new` begins with what the topics hold"
        )
    until = {at: bronze.until.get(at, 0) for at in seams}
    archive = Archive(base.number, bronze.manifest.number, now.by_topic(seams), now.by_topic(until))
    archived_starts(replace(now, archive=archive), base, first, end)
    return archive

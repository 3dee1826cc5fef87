"""Where a trial begins: at offsets or a time, or with some topics only.

A generation of fewer records than the live one's can never take that one's place: its totals lack what it has not read.
It tells within a minute what the code makes of last night's records, before all of them are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from infra.generation import source_bounds, source_offsets_at
from infra.generations import Generation
from infra.kafka import Offsets, admin
from infra.seams import base_starts
from infra.settings import Settings
from replay.errors import ReplayError


@dataclass(frozen=True)
class Origin:
    """What a replay reads, if not everything; nothing of it means everything.

    `since`: what the broker took from then on (UTC). `offsets`: the first of a topic's partition, in place of the
    time's. `topics`: of others only what comes from now on.
    """

    since: datetime | None = None
    offsets: Mapping[tuple[str, int], int] = field(default_factory=dict)
    topics: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.since or self.offsets or self.topics)


EVERYTHING = Origin()


def trial_starts(
    settings: Settings, topics: Generation, base: Generation, bounds: tuple[Offsets, Offsets], origin: Origin
) -> Offsets | None:
    """The first offset of each partition of `topics`, as they are now, within `bounds`.

    None if that is no later than where `base` began, so that all of it is read. Raises ReplayError, Unavailable.
    """
    check_topics(origin, topics)
    at_time = {}
    if origin.since is not None:
        client = admin(settings.kafka_bootstrap_servers)
        since = max(0, int(origin.since.timestamp() * 1000))
        at_time = source_offsets_at(settings, topics, client, since)
        now = datetime.now(UTC)
        # The time that counts is the broker's, which may be ahead of ours.
        if origin.since > now and max(at_time.values()) < 0:
            raise ReplayError(
                f"expected a time that has come, saw {_told(origin.since)}: now it is {_told(now)}"
            )
    # Once more: what has been lost meanwhile may be what was asked for.
    first, end = source_bounds(settings, topics)[0], bounds[1]
    begun = base_starts(topics, base, first)
    starts = starts_within(origin, at_time, begun, first, end)
    if all(start <= begun[at] for at, start in starts.items()):
        return None
    if starts == end:
        raise ReplayError(
            "expected records to read, and there is none from there on: the topics end at "
            + ", ".join(f"{topic}/{p}:{until}" for (topic, p), until in end.items() if until)
        )
    return starts


def check_topics(origin: Origin, topics: Generation) -> None:
    """Raise ReplayError for topics and partitions that there are not."""
    named = [*origin.topics, *(topic for topic, _ in origin.offsets)]
    if unknown := [topic for topic in dict.fromkeys(named) if topic not in topics.topics]:
        raise ReplayError(f"expected source topics: {', '.join(topics.topics)}; saw {', '.join(unknown)}")
    for topic, partition in origin.offsets:
        there = topics.topics[topic].partitions
        if partition >= there:
            raise ReplayError(f"expected a partition of {topic}, 0 to {there - 1}; saw {topic}/{partition}")
        if origin.topics and topic not in origin.topics:
            raise ReplayError(
                f"expected offsets of the topics that are read ({', '.join(origin.topics)}), saw {topic}/{partition}"
            )


def starts_within(origin: Origin, at_time: Offsets, begun: Offsets, first: Offsets, end: Offsets) -> Offsets:
    """Where each partition begins. `at_time`: the offset of the origin's time, -1 where nothing is newer. Pure.

    Kafka has what lies from `first` to before `end`; the live generation began at `begun`. Raises ReplayError.
    """
    found = {}
    for (topic, partition), least in first.items():
        at, most = (topic, partition), end[topic, partition]
        if origin.topics and topic not in origin.topics:
            found[at] = most
        elif (offset := origin.offsets.get(at)) is not None:
            if not least <= offset <= most:
                raise ReplayError(
                    f"expected an offset of {topic}/{partition} that it has, {least} to {most} (where it ends); saw "
                    f"{offset}" + (_lost(least) if offset < least and begun[at] < least else "")
                )
            found[at] = offset
        elif origin.since is not None:
            found[at] = most if at_time[at] < 0 else min(at_time[at], most)
            if found[at] == least > begun[at]:
                what = "has no record any more" if least == most else "begins with a record of then or later"
                raise ReplayError(
                    f"expected {topic}/{partition} to hold everything since {_told(origin.since)}, and it {what}: what "
                    f"it has lost may be of then, too; --from {topic}/{partition}:{least} goes without{_lost(least)}"
                )
        else:
            if least > begun[at]:
                raise ReplayError(
                    f"expected {topic}/{partition} to hold everything from its beginning, and it begins at {least} by "
                    f"now{_lost(least)}"
                )
            found[at] = least
    return found


def check_whole(generation: Generation, live: Generation) -> None:
    """Raise ReplayError if `generation` has not all records that the live one has."""
    begun = base_starts(generation, live, _starts(generation, generation.partitions()))
    if later := [at for at, start in begun.items() if generation.start(*at) > start]:
        places = ", ".join(f"{topic}/{p} at {generation.start(topic, p)}" for topic, p in later)
        raise ReplayError(
            f"expected a generation of all records that {live.name} has, and {generation.name} begins behind them "
            f"({places}), so readers would miss what is before. Replay everything, and promote that one"
        )


def fewer(one: Generation, other: Generation) -> int:
    """How many offsets `one` has not that `other` has, at its beginning."""
    begun = base_starts(one, other, _starts(one, one.partitions()))
    return sum(max(0, one.start(*at) - start) for at, start in begun.items())


def _starts(generation: Generation, places: Sequence[tuple[str, int]]) -> Offsets:
    return {at: generation.start(*at) for at in places}


def _lost(first: int) -> str:
    return f". What is before {first} only bronze has: without --from and --topic, a replay reads it there"


def _told(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")

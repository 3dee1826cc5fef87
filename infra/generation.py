"""The generation that a process serves: which topics, by id and partition count, it is a function of.

A topic can be deleted and created again, or get more partitions, while nobody looks; offsets then mean something else.
So a generation records the identity of its source topics (see `infra.generations`), and every process compares before
it trusts an offset. Writes the log of generations, and creates their output topics.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from confluent_kafka.admin import AdminClient

from infra.generations import (
    LIVE,
    Archive,
    Changes,
    Generation,
    Generations,
    State,
    change_generations,
    read_generations,
)
from infra.kafka import (
    CONFIRM_SECONDS,
    LOOK_AGAIN_SECONDS,
    Offsets,
    TopicIdentity,
    admin,
    ensure_topics,
    grow,
    identities,
    log_bounds,
    offsets_at,
)
from infra.seams import archived_starts
from infra.settings import Settings
from schemas.errors import GenerationError, Unavailable
from schemas.topics import DEAD_LETTER, GENERATIONS, JUDGED, SOURCE_TOPICS, TOPICS

WAY_OUT = "`dataflow generation new` starts over from the topics as they are now"


def source_identities(
    settings: Settings, topics: Iterable[str] = tuple(SOURCE_TOPICS)
) -> dict[str, TopicIdentity]:
    """The source topics as the broker has them now, by name without prefix."""
    prefix = settings.topic_prefix
    names = [prefix + topic for topic in topics]
    found = identities(admin(settings.kafka_bootstrap_servers), names, CONFIRM_SECONDS)
    return {name.removeprefix(prefix): identity for name, identity in found.items()}


def load_generation(settings: Settings, patience: float = CONFIRM_SECONDS) -> Generation | None:
    """The live generation, or None if there is none yet.

    A broker that has just been killed and started again may show neither the topic nor its records for a moment, so
    that there is none is said only after `patience` seconds.
    """
    until = time.monotonic() + patience
    while (found := read_generations(settings).live_generation) is None and time.monotonic() < until:
        time.sleep(LOOK_AGAIN_SECONDS)
    return found


def begin_generation(
    settings: Settings,
    number: int,
    archive: Archive | None = None,
    check: Callable[[Generation], object] = lambda _: None,
) -> Generation:
    """Generation `number` of the topics as they are now, with outputs of its own; it is not recorded yet.

    With an `archive` it begins where bronze does. `check` raises if it should not, before it has outputs. Raises
    GenerationError if a source topic is missing, or if neither Kafka nor bronze has all that lies between.
    """
    generation = Generation(number, source_identities(settings), archive=archive)
    missing = [settings.topic_prefix + topic for topic in SOURCE_TOPICS if topic not in generation.topics]
    if missing:
        raise GenerationError(
            f"a generation is a function of all {len(SOURCE_TOPICS)} source topics, and the broker has no "
            f"{', '.join(missing)}: create what is missing with `python -m infra.bootstrap` "
            "(which `dataflow up` runs too), then try again"
        )
    # What a later rebuild has to find there still.
    first, end = source_bounds(settings, generation)
    if archive is not None:
        base = read_generations(settings).of(archive.number).generation
        first = archived_starts(generation, base, first, end)
    generation = replace(generation, starts=generation.by_topic(first))
    check(generation)
    fit_output_topics(settings, generation)
    return generation


def first_generation(settings: Settings) -> Generation:
    """The live generation; where there is none, the topics as they are now become the first."""

    def decide(now: Generations) -> Changes:
        if now.live is not None:
            return {}
        generation = begin_generation(settings, now.next_number())
        return {generation.name: generation.as_json(), LIVE: {"number": generation.number, "before": None}}

    return change_generations(settings, decide).live_generation


def source_bounds(
    settings: Settings, generation: Generation, client: AdminClient | None = None
) -> tuple[Offsets, Offsets]:
    """First offset and committed end of every source partition, by topic name without prefix.

    Who asks often hands in a `client` of their own. Raises Unavailable.
    """
    prefix = settings.topic_prefix
    places = [(prefix + topic, p) for topic, p in generation.partitions()]
    first, end = log_bounds(client or admin(settings.kafka_bootstrap_servers), places)
    return _without_prefix(first, prefix), _without_prefix(end, prefix)


def source_offsets_at(
    settings: Settings, generation: Generation, client: AdminClient, time_ms: int
) -> Offsets:
    """The first offset of every source partition from a broker's time (ms) on; -1 where there is none."""
    prefix = settings.topic_prefix
    places = [(prefix + topic, p) for topic, p in generation.partitions()]
    return _without_prefix(offsets_at(client, places, time_ms), prefix)


def _without_prefix(offsets: Offsets, prefix: str) -> Offsets:
    return {(topic.removeprefix(prefix), p): offset for (topic, p), offset in offsets.items()}


def new_generation(settings: Settings, code: Mapping[str, Any] | None = None) -> Generation:
    """Start over from the source topics as they are now, under the next number.

    It is made by `code` (see `infra.code`); None: by what the platform runs that begins it.

    The live one stands still, and so does what a rollback would have gone back to. The live job and its readers see it
    and restart into it. Raises GenerationError if a source topic is missing.
    """

    def decide(now: Generations) -> Changes:
        generation = begin_generation(settings, now.next_number())
        pointer = {LIVE: {"number": generation.number, "before": now.live}}
        stopped = {
            f"g{number}/state": {"state": State.PAUSED}
            for number in (now.before, now.live)
            if number in now.running()
        }
        return {
            generation.name: generation.as_json(),
            **({} if code is None else {f"{generation.name}/code": code}),
            **stopped,
            **pointer,
        }

    return change_generations(settings, decide).live_generation


def fit_output_topics(settings: Settings, generation: Generation) -> None:
    """Create the judged topic and the dead letters, as wide as the widest source topic.

    What the live job writes keeps its source's partition number, so each output needs as many partitions.
    """
    client = admin(settings.kafka_bootstrap_servers)
    widest = max(identity.partitions for identity in generation.topics.values())
    judged, dead_letter = generation.judged_topic(settings), generation.dead_letter_topic(settings)
    outputs = {judged: TOPICS[JUDGED], dead_letter: TOPICS[DEAD_LETTER]}
    created = ensure_topics(client, outputs, widest, settings.kafka_replication_factor)
    for name in outputs.keys() - set(created):
        grow(client, name, widest)


class GenerationWatch:
    """Tells a running process that its generation is no longer the one to serve. One client; a look is one request."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self._settings, self._number = settings, generation.number
        self._client = admin(settings.kafka_bootstrap_servers)
        self._place = (settings.topic_prefix + GENERATIONS, 0)
        self._seen: int | None = None
        self.is_live = False  # as of the last look

    def superseded_by(self) -> int | None:
        """The number of the live generation if that is another one and this process is not bound to its own.

        Raises GenerationError if its generation is gone.
        """
        end = log_bounds(self._client, [self._place])[1][self._place]
        if end == self._seen:
            return None
        now = read_generations(self._settings)
        if now.live is None:
            raise Unavailable(f"topic {self._place[0]} has lost its records")
        self.is_live = now.live == self._number
        if self._settings.dataflow_generation is not None:
            now.of(self._number)
        elif now.live != self._number:
            return now.live
        self._seen = end
        return None


def served_generation(settings: Settings, patience: float = CONFIRM_SECONDS) -> Generation:
    """The generation that this process serves, as it is recorded: the live one, or the one of DATAFLOW_GENERATION.

    Raises GenerationError if that is gone; Unavailable if there is none, after `patience` seconds.
    """
    if settings.dataflow_generation is None:
        generation = load_generation(settings, patience)
    else:
        now = read_generations(settings)
        # With nothing live the log is not to be seen yet: a broker that has just started may show none of it.
        generation = None if now.live is None else now.served(settings)
    if generation is None:
        # Never final: a job that gave up for good because of a broker that starts slowly would stay down.
        raise Unavailable(
            "no generation has been started: run `dataflow up` or `python -m infra.bootstrap` first"
        )
    return generation


def current_generation(settings: Settings) -> Generation:
    """The generation that this process serves, compared with the broker. Added partitions are taken in.

    Raises what `served_generation` raises, and GenerationError if a source topic is missing, was created again or has
    fewer partitions than recorded.
    """
    generation = served_generation(settings)
    now = source_identities(settings)
    if compare(generation, now):
        generation = replace(generation, topics=now)
        fit_output_topics(settings, generation)
        change_generations(settings, lambda _: {generation.name: generation.as_json()})
    return generation


def compare(generation: Generation, now: Mapping[str, TopicIdentity]) -> list[str]:
    """Topics that have more partitions than recorded. Raises GenerationError for what cannot be continued."""
    check_declared(generation, now)
    return compare_identities(generation, now)


def check_declared(generation: Generation, now: Collection[str]) -> None:
    """Raise GenerationError if it is of other topics than those of `now` that this code has contracts for."""
    undeclared = [topic for topic in generation.topics if topic not in SOURCE_TOPICS]
    if undeclared:
        raise GenerationError(
            f"generation {generation.name} counts {', '.join(undeclared)} too, which has no contract here: let "
            f"DATAFLOW_CONTRACTS name the directory with its contract, or leave it out: {WAY_OUT}"
        )
    added = sorted((set(now) & set(SOURCE_TOPICS)) - set(generation.topics))
    if added:
        raise GenerationError(
            f"generation {generation.name} began before there was a contract for {', '.join(added)}, and its numbers "
            "know nothing of it: `dataflow generation new` starts over and counts all topics from their beginning; or "
            "take it out of DATAFLOW_CONTRACTS again"
        )


def compare_identities(generation: Generation, now: Mapping[str, TopicIdentity]) -> list[str]:
    """The same of its own topics alone, of which `now` has what the broker has."""
    for topic, recorded in generation.topics.items():
        seen = now.get(topic)
        if seen is None:
            raise GenerationError(f"source topic {topic} is gone; create it again and {WAY_OUT}")
        if seen.topic_id != recorded.topic_id:
            raise GenerationError(
                f"source topic {topic} was deleted and created again "
                f"(expected id {recorded.topic_id}, saw {seen.topic_id}): "
                f"its offsets mean something else than those applied so far; {WAY_OUT}"
            )
        if seen.partitions < recorded.partitions:
            raise GenerationError(
                f"source topic {topic} had {recorded.partitions} partitions, now {seen.partitions}; {WAY_OUT}"
            )
    return sorted(t for t, recorded in generation.topics.items() if now[t].partitions > recorded.partitions)

"""The generation: which topics, by id and partition count, everything derived is a function of.

A topic can be deleted and created again, or get more partitions, while nobody looks; offsets then mean something else.
So a generation records the identity of its source topics in a compacted Kafka topic, and every process compares before
it trusts an offset. Reads and writes `<prefix>events.generations`.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

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
)
from infra.read_topic import read_topic
from infra.settings import Settings
from schemas.errors import GenerationError, Unavailable
from schemas.topics import DEAD_LETTER, GENERATIONS, JUDGED, SOURCE_TOPICS, TOPICS

KEY = b"live"


@dataclass(frozen=True)
class Generation:
    """One evaluation of the source topics. `topics` is keyed by the name without the environment's prefix."""

    number: int
    topics: Mapping[str, TopicIdentity]
    starts: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def start(self, topic: str, partition: int) -> int:
        """The first offset of a source partition when the generation began; 0 for one that was added since."""
        starts = self.starts.get(topic, ())
        return starts[partition] if partition < len(starts) else 0

    @property
    def name(self) -> str:
        return f"g{self.number}"

    def judged_topic(self, settings: Settings) -> str:
        return f"{settings.topic_prefix}{self.name}.{JUDGED}"

    def partitions(self) -> list[tuple[str, int]]:
        """All source partitions, by topic name without prefix."""
        return [(topic, p) for topic, identity in self.topics.items() for p in range(identity.partitions)]


def source_identities(settings: Settings) -> dict[str, TopicIdentity]:
    """The source topics as the broker has them now, by name without prefix."""
    prefix = settings.topic_prefix
    names = [prefix + topic for topic in SOURCE_TOPICS]
    found = identities(admin(settings.kafka_bootstrap_servers), names, CONFIRM_SECONDS)
    return {name.removeprefix(prefix): identity for name, identity in found.items()}


def load_generation(settings: Settings, patience: float = CONFIRM_SECONDS) -> Generation | None:
    """The live generation, or None if there is none yet.

    A broker that has just been killed and started again may show neither the topic nor its records for a moment, so
    that there is none is said only after `patience` seconds.
    """
    until = time.monotonic() + patience
    while (found := _newest_generation(settings)) is None and time.monotonic() < until:
        time.sleep(LOOK_AGAIN_SECONDS)
    return found


def _newest_generation(settings: Settings) -> Generation | None:
    newest = None
    try:
        for message in read_topic(settings.kafka_bootstrap_servers, settings.topic_prefix + GENERATIONS):
            if message.key() == KEY:
                newest = json.loads(message.value())
    except GenerationError:
        return None  # there is no such topic: nothing was ever started
    return newest and parse_generation(newest)


def parse_generation(body: Mapping[str, Any]) -> Generation:
    """A generation from its record."""
    topics = {topic: TopicIdentity(**identity) for topic, identity in body["topics"].items()}
    return Generation(body["number"], topics, body.get("starts", {}))


def store_generation(settings: Settings, generation: Generation) -> None:
    """Make `generation` the live one."""
    body = {
        "number": generation.number,
        "topics": {t: asdict(i) for t, i in generation.topics.items()},
        "starts": {t: list(offsets) for t, offsets in generation.starts.items()},
    }
    producer = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all", "log_level": 3}
    )
    failures: list[str] = []
    producer.produce(
        settings.topic_prefix + GENERATIONS,
        json.dumps(body).encode(),
        KEY,
        on_delivery=lambda e, _: e and failures.append(str(e)),
    )
    if producer.flush(15) or failures:
        raise Unavailable(f"the generation could not be recorded: {failures or 'no answer from the broker'}")


def start_generation(settings: Settings, number: int) -> Generation:
    """Record the topics as they are now as generation `number`, with a judged topic of its own."""
    generation = Generation(number, source_identities(settings))
    missing = [settings.topic_prefix + topic for topic in SOURCE_TOPICS if topic not in generation.topics]
    if missing:
        raise GenerationError(
            f"a generation is a function of all {len(SOURCE_TOPICS)} source topics, and the broker has no "
            f"{', '.join(missing)}: create what is missing with `python -m infra.bootstrap` "
            "(which `dataflow up` runs too), then try again"
        )
    # What a later rebuild has to find there still.
    first, _ = source_bounds(settings, generation)
    starts = {
        topic: [first[topic, p] for p in range(identity.partitions)]
        for topic, identity in generation.topics.items()
    }
    generation = replace(generation, starts=starts)
    fit_output_topics(settings, generation)
    store_generation(settings, generation)
    return generation


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


def _without_prefix(offsets: Offsets, prefix: str) -> Offsets:
    return {(topic.removeprefix(prefix), p): offset for (topic, p), offset in offsets.items()}


def new_generation(settings: Settings) -> Generation:
    """Start over from the source topics as they are now, under the next number.

    The live job and its readers see it and restart into it. Raises GenerationError if a source topic is missing.
    """
    current = load_generation(settings)
    return start_generation(settings, current.number + 1 if current else 1)


def fit_output_topics(settings: Settings, generation: Generation) -> None:
    """Create the judged topic, and grow it and the dead letters to the widest source topic.

    What the live job writes keeps its source's partition number, so each output needs as many partitions.
    """
    client = admin(settings.kafka_bootstrap_servers)
    widest = max(identity.partitions for identity in generation.topics.values())
    judged, dead_letter = generation.judged_topic(settings), settings.topic_prefix + DEAD_LETTER
    outputs = {judged: TOPICS[JUDGED], dead_letter: TOPICS[DEAD_LETTER]}
    created = ensure_topics(client, outputs, widest, settings.kafka_replication_factor)
    for name in outputs.keys() - set(created):
        grow(client, name, widest)


class GenerationWatch:
    """Tells a running process that somebody has started a new generation. Keeps one client; a look is one request."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self._settings, self._number = settings, generation.number
        self._client = admin(settings.kafka_bootstrap_servers)
        self._place = (settings.topic_prefix + GENERATIONS, 0)
        self._seen: int | None = None

    def superseded_by(self) -> int | None:
        """The number of the live generation if it is another one than this process serves."""
        end = log_bounds(self._client, [self._place])[1][self._place]
        if end == self._seen:
            return None
        generation = load_generation(self._settings)
        if generation is None:
            raise Unavailable(f"topic {self._place[0]} has lost its records")
        if generation.number != self._number:
            return generation.number
        self._seen = end
        return None


def current_generation(settings: Settings) -> Generation:
    """The live generation, compared with the broker. Added partitions are taken in; anything else is refused.

    Raises GenerationError if a source topic is missing, was created again or has fewer partitions than recorded,
    Unavailable if there is no generation.
    """
    generation = load_generation(settings)
    if generation is None:
        # Never final: a job that gave up for good because of a broker that starts slowly would stay down.
        raise Unavailable(
            "no generation has been started: run `dataflow up` or `python -m infra.bootstrap` first"
        )
    now = source_identities(settings)
    grown = compare(generation, now)
    if grown:
        generation = replace(generation, topics=now)
        fit_output_topics(settings, generation)
        store_generation(settings, generation)
    return generation


def compare(generation: Generation, now: Mapping[str, TopicIdentity]) -> list[str]:
    """Topics that have more partitions than recorded. Raises GenerationError for what cannot be continued."""
    way_out = "`dataflow generation new` starts over from the topics as they are now"
    undeclared = [topic for topic in generation.topics if topic not in SOURCE_TOPICS]
    if undeclared:
        raise GenerationError(
            f"generation {generation.name} counts {', '.join(undeclared)} too, which has no contract here: let "
            f"DATAFLOW_CONTRACTS name the directory with its contract, or leave it out: {way_out}"
        )
    added = sorted(set(now) - set(generation.topics))
    if added:
        raise GenerationError(
            f"generation {generation.name} began before there was a contract for {', '.join(added)}, and its numbers "
            "know nothing of it: `dataflow generation new` starts over and counts all topics from their beginning; or "
            "take it out of DATAFLOW_CONTRACTS again"
        )
    for topic, recorded in generation.topics.items():
        seen = now.get(topic)
        if seen is None:
            raise GenerationError(f"source topic {topic} is gone; create it again and {way_out}")
        if seen.topic_id != recorded.topic_id:
            raise GenerationError(
                f"source topic {topic} was deleted and created again "
                f"(expected id {recorded.topic_id}, saw {seen.topic_id}): "
                f"its offsets mean something else than those applied so far; {way_out}"
            )
        if seen.partitions < recorded.partitions:
            raise GenerationError(
                f"source topic {topic} had {recorded.partitions} partitions, now {seen.partitions}; {way_out}"
            )
    return sorted(t for t, seen in now.items() if seen.partitions > generation.topics[t].partitions)

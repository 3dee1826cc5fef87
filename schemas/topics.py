"""The Kafka topics: names, what each is for, its configuration. Names here lack the environment's prefix."""

from dataclasses import dataclass, field

from schemas.contract import CONTRACTS

JUDGED = "events.judged"
DEAD_LETTER = "events.dead_letter"
CONTROL = "events.control"
GENERATIONS = "events.generations"
REDRIVEN = "events.redriven"

DAY_MS = 86_400_000
SOURCE_TOPICS: tuple[str, ...] = tuple(CONTRACTS)


@dataclass(frozen=True)
class Topic:
    """A topic as it is created. `partitions` None means: as the setting KAFKA_PARTITIONS says."""

    name: str
    doc: str
    config: dict[str, str] = field(default_factory=dict)
    partitions: int | None = None


# Source topics keep everything: they are the truth that everything is derived from. The broker's own clock stamps
# each record, so that "one day ahead" and events per minute mean the same however wrong a producer's clock is.
_SOURCE = {
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
}

TOPICS: dict[str, Topic] = {
    **{name: Topic(name, contract.doc, _SOURCE) for name, contract in CONTRACTS.items()},
    JUDGED: Topic(
        JUDGED,
        "One verdict per source record, in source order; a refused record before its own.",
        {"retention.ms": str(7 * DAY_MS)},
    ),
    DEAD_LETTER: Topic(
        DEAD_LETTER, "What was refused: original bytes and the reasons.", {"retention.ms": "-1"}
    ),
    CONTROL: Topic(
        CONTROL,
        "Requests between the jobs, such as: repeat from these offsets.",
        {"retention.ms": str(DAY_MS)},
        1,
    ),
    REDRIVEN: Topic(
        REDRIVEN, "Dead letters that were put back into their source topic.", {"cleanup.policy": "compact"}, 1
    ),
    GENERATIONS: Topic(
        GENERATIONS,
        "The generations, what each is a function of, and which is live.",
        {"cleanup.policy": "compact"},
        1,
    ),
}

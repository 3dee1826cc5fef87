"""Small Kafka look-ups that every process needs: create topics, who a topic is, where it ends, what lies between.

Reads topic metadata and offsets; writes topics only in `ensure_topics` and `grow`.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakSet

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec, TopicDescription

from schemas.errors import GenerationError, Unavailable
from schemas.topics import Topic

TIMEOUT = 15.0  # seconds for one request to the broker
SEE = "see whether the broker at KAFKA_BOOTSTRAP_SERVERS runs"
CONFIRM_SECONDS, LOOK_AGAIN_SECONDS = 3.0, 0.2

# After a broker's restart, or right after a topic was made: who leads a partition is not what the client knows.
OUTDATED = (
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._NOENT,  # "No leaders found"
)

Offsets = dict[tuple[str, int], int]

_connected: WeakSet[AdminClient] = WeakSet()


@dataclass(frozen=True)
class TopicIdentity:
    """Which topic this is: a topic that was deleted and created again has another id."""

    topic_id: str
    partitions: int


def admin(bootstrap: str) -> AdminClient:
    # What fails is raised, and need not be in a log or on a terminal, too.
    return AdminClient({"bootstrap.servers": bootstrap, "socket.timeout.ms": 10_000, "log_level": 2})


def consumer(bootstrap: str, group: str, **config: object) -> Consumer:
    """A consumer that commits nothing and sees only committed records."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "log_level": 3,
            **config,
        }
    )


def ensure_topics(
    client: AdminClient, topics: Mapping[str, Topic], partitions: int, replication: int
) -> list[str]:
    """Create the topics that do not exist yet (full name → declaration); returns the names it created.

    Returns when the broker describes them all, with a leader for each partition. Raises Unavailable.
    """
    wanted = [
        NewTopic(name, topic.partitions or partitions, replication, config=dict(topic.config))
        for name, topic in topics.items()
    ]
    created = []
    for name, future in client.create_topics(wanted, operation_timeout=TIMEOUT).items():
        try:
            future.result(TIMEOUT)
            created.append(name)
        except TimeoutError as error:
            raise Unavailable(f"could not create topic {name} within {TIMEOUT:.0f} s: {SEE}") from error
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unavailable(f"could not create topic {name}: {error.args[0].str()}; {SEE}") from error
    await_leaders(client, topics)
    return created


def await_leaders(client: AdminClient, names: Iterable[str]) -> None:
    """Wait for what was created just now: the broker may not know it yet, or not yet who leads it."""
    missing, deadline = set(names), time.monotonic() + TIMEOUT
    while missing:
        for name, found in _descriptions(client, missing).items():
            if found.partitions and all(p.leader is not None for p in found.partitions):
                missing.discard(name)
        if missing and time.monotonic() > deadline:
            raise Unavailable(
                f"{', '.join(sorted(missing))} exist but have no leader {TIMEOUT:.0f} s after they were created: "
                "look at the broker"
            )
        time.sleep(0.05 if missing else 0)


def identities(client: AdminClient, names: Iterable[str], patience: float = 0.0) -> dict[str, TopicIdentity]:
    """Id and partition count of each topic that exists. Raises Unavailable if the broker does not answer.

    A broker that has just started again may not know its topics for a moment: what is missing is looked for again
    for `patience` seconds. Who concludes something final from an absence sets it to CONFIRM_SECONDS.
    """
    names, until = list(names), time.monotonic() + patience
    found = _descriptions(client, names)
    while len(found) < len(set(names)) and time.monotonic() < until:
        time.sleep(LOOK_AGAIN_SECONDS)
        found = _descriptions(client, names)
    return {name: TopicIdentity(str(each.topic_id), len(each.partitions)) for name, each in found.items()}


def _descriptions(client: AdminClient, names: Iterable[str]) -> dict[str, TopicDescription]:
    found: dict[str, TopicDescription] = {}
    for name, future in client.describe_topics(TopicCollection(list(names)), request_timeout=TIMEOUT).items():
        try:
            found[name] = future.result(TIMEOUT)
        except TimeoutError as error:
            raise Unavailable(
                f"the broker does not describe topic {name} within {TIMEOUT:.0f} s: {SEE}"
            ) from error
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Unavailable(
                    f"the broker does not describe topic {name}: {error.args[0].str()}; {SEE}"
                ) from error
    return found


def grow(client: AdminClient, name: str, partitions: int) -> None:
    """Give a topic more partitions, if it has fewer."""
    current = identities(client, [name]).get(name)
    if current is None:
        raise GenerationError(
            f"expected topic {name} to exist; create it with `dataflow up` or `python -m infra.bootstrap`"
        )
    if current.partitions >= partitions:
        return
    for future in client.create_partitions([NewPartitions(name, partitions)]).values():
        try:
            future.result(TIMEOUT)
        except TimeoutError as error:
            raise Unavailable(f"could not give {name} {partitions} partitions in {TIMEOUT:.0f} s") from error
        except KafkaException as error:
            # INVALID_PARTITIONS: another process has grown it meanwhile.
            if error.args[0].code() != KafkaError.INVALID_PARTITIONS:
                raise Unavailable(
                    f"could not give {name} {partitions} partitions: {error.args[0].str()}"
                ) from error


def log_bounds(client: AdminClient, partitions: Iterable[tuple[str, int]]) -> tuple[Offsets, Offsets]:
    """First offset still there, and the offset behind the last committed record, of each partition."""
    first, end = _listed(client, partitions, OffsetSpec.earliest(), OffsetSpec.latest())
    return first, end


def offsets_at(client: AdminClient, partitions: Iterable[tuple[str, int]], time_ms: int) -> Offsets:
    """The first offset of each partition whose record the broker took at this time (ms) or later; -1: there is none."""
    [found] = _listed(client, partitions, OffsetSpec.for_timestamp(time_ms))
    return found


def _listed(client: AdminClient, partitions: Iterable[tuple[str, int]], *specs: OffsetSpec) -> list[Offsets]:
    wanted = [TopicPartition(topic, partition) for topic, partition in partitions]
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            _connect(client)
            return [_list_offsets(client, wanted, spec) for spec in specs]
        except TimeoutError as error:
            raise Unavailable(f"the broker does not list offsets within {TIMEOUT:.0f} s") from error
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() not in OUTDATED or time.monotonic() > deadline:
                raise Unavailable(f"the broker does not list offsets: {reason.str()}") from error
        # The client goes by the leaders that it knows; only asking for all metadata brings newer ones.
        try:
            client.list_topics(timeout=TIMEOUT)
        except KafkaException as error:
            raise Unavailable(f"the broker does not answer: {error.args[0].str()}") from error
        time.sleep(0.1)


def _connect(client: AdminClient) -> None:
    """Have it know a broker before it looks for leaders.

    librdkafka looks for these in what it knows, and asks for the rest. Once in thirty a new client asks too early to
    hear the answer, and looks again after three seconds.
    """
    if client not in _connected:
        client.describe_cluster(request_timeout=TIMEOUT).result(TIMEOUT)
        _connected.add(client)


def _list_offsets(client: AdminClient, wanted: list[TopicPartition], spec: OffsetSpec) -> Offsets:
    futures = client.list_offsets(
        dict.fromkeys(wanted, spec),
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=TIMEOUT,
    )
    return {(p.topic, p.partition): future.result(TIMEOUT).offset for p, future in futures.items()}

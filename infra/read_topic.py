"""Read a topic once, from its beginning to where it ended when the reading began.

Sees what a read_committed consumer sees; commits no offsets.
"""

import time
from collections.abc import Iterable, Iterator

from confluent_kafka import KafkaError, Message, TopicPartition

from infra.kafka import admin, consumer, identities, log_bounds
from schemas.errors import GenerationError, Unavailable

BATCH = 5_000  # records
SILENCE_SECONDS = 30.0


def read_topic(
    bootstrap: str, topic: str, partitions: Iterable[int] | None = None, newest: int | None = None
) -> Iterator[Message]:
    """The records of a topic (full name), each partition in its order; `partitions` None means all.

    `newest` leaves out what lies more than so many offsets before the end of its partition.

    Raises GenerationError if there is no such topic, Unavailable if the broker falls silent.
    """
    client = admin(bootstrap)
    found = identities(client, [topic]).get(topic)
    if found is None:
        raise GenerationError(
            f"expected topic {topic} to exist; create it with `dataflow up` or `python -m infra.bootstrap`"
        )
    wanted = [p for p in range(found.partitions) if partitions is None or p in partitions]
    first, end = log_bounds(client, [(topic, p) for p in wanted]) if wanted else ({}, {})
    if newest is not None:
        first = {at: max(begin, end[at] - newest) for at, begin in first.items()}
    open_ = {p for p in wanted if first[topic, p] < end[topic, p]}
    if not open_:
        return
    # The last offsets may be a transaction's marker, which no consumer sees: the client tells that it is there.
    # Behind a marker nothing comes, and a fetch that waits for more would hold up that word for half a second.
    waits = {"enable.partition.eof": True, "fetch.wait.max.ms": 20}
    reader = consumer(bootstrap, "dataflow-read-topic", **waits)
    try:
        reader.assign([TopicPartition(topic, p, first[topic, p]) for p in sorted(open_)])
        heard = time.monotonic()
        while open_:
            messages = reader.consume(BATCH, 0.2)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise Unavailable(
                    f"topic {topic} could not be read to its end; look at the broker, try again"
                )
            for message in messages:
                if error := message.error():
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise Unavailable(f"topic {topic} could not be read: {error.str()}")
                    open_.discard(message.partition())
                    continue
                last = end[topic, message.partition()]
                if message.offset() < last:
                    yield message
                if message.offset() + 1 >= last:
                    open_.discard(message.partition())
    finally:
        reader.close()

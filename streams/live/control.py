"""Requests to the live job, through the control topic: repeat the verdicts from these offsets.

The materializer asks when it stands at a hole, or when Redis has lost what it had. It asks again while it waits, so a
request that nobody heard does no harm.
"""

import json
import logging

from confluent_kafka import Consumer, Producer, TopicPartition

from infra.kafka import Offsets, admin, consumer, log_bounds
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import CONTROL

log = logging.getLogger(__name__)


def control_topic(settings: Settings) -> str:
    return settings.topic_prefix + CONTROL


def request_repeat(producer: Producer, settings: Settings, generation: str, offsets: Offsets) -> None:
    """Ask for every verdict from `offsets` on; of a partition that they leave out, for all.

    Raises Unavailable if the broker does not take it.
    """
    body = {
        "kind": "repeat",
        "generation": generation,
        "offsets": [[t, p, o] for (t, p), o in offsets.items()],
    }
    producer.produce(control_topic(settings), json.dumps(body).encode())
    if producer.flush(15):
        raise Unavailable("the broker did not take a repeat request within 15 s")


class ControlReader:
    """Reads requests that arrive from now on."""

    def __init__(self, settings: Settings, generation: str) -> None:
        topic = control_topic(settings)
        _, ends = log_bounds(admin(settings.kafka_bootstrap_servers), [(topic, 0)])
        self.generation = generation
        self.reader: Consumer = consumer(settings.kafka_bootstrap_servers, f"{topic}-live")
        self.reader.assign([TopicPartition(topic, 0, ends[topic, 0])])

    def repeat_requested(self, timeout: float) -> Offsets | None:
        """The lowest offsets asked for by the requests that wait, or None after `timeout` seconds without one."""
        wanted: Offsets | None = None
        message = self.reader.poll(timeout)
        while message is not None:
            if not message.error():
                asked = _requested(message.value(), self.generation)
                if asked is not None:
                    before = wanted or {}
                    both = before.keys() & asked.keys() if wanted is not None else asked.keys()
                    # what one of them leaves out is wanted from its beginning
                    wanted = {place: min(asked[place], before.get(place, asked[place])) for place in both}
            message = self.reader.poll(0)
        return wanted

    def close(self) -> None:
        self.reader.close()


def _requested(value: bytes | None, generation: str) -> Offsets | None:
    """The offsets of a request to repeat this generation; None for anything else."""
    try:
        body = json.loads(value or b"")
        if body["kind"] != "repeat" or body["generation"] != generation:
            return None
        return {(str(topic), int(partition)): int(offset) for topic, partition, offset in body["offsets"]}
    except (ValueError, TypeError, KeyError) as error:
        log.warning("a request that cannot be read is left alone (%r): %r", error, (value or b"")[:200])
        return None

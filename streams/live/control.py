"""Requests to the live job, through the control topic: repeat the verdicts from these offsets.

The materializer asks when it stands at a hole, or when Redis has lost what it had. It asks again while it waits, so a
request that nobody heard does no harm.
"""

import json

from confluent_kafka import Consumer, Producer, TopicPartition

from infra.kafka import Offsets, admin, consumer, log_bounds
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import CONTROL


def control_topic(settings: Settings) -> str:
    return settings.topic_prefix + CONTROL


def request_repeat(producer: Producer, settings: Settings, generation: str, offsets: Offsets) -> None:
    """Ask for every verdict from `offsets` (all source partitions) on. Raises Unavailable if it is not taken."""
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
        wanted: Offsets = {}
        message = self.reader.poll(timeout)
        while message is not None:
            if not message.error():
                body = json.loads(message.value())
                if body.get("kind") == "repeat" and body["generation"] == self.generation:
                    for topic, partition, offset in body["offsets"]:
                        place = (topic, partition)
                        wanted[place] = min(offset, wanted.get(place, offset))
            message = self.reader.poll(0)
        return wanted or None

    def close(self) -> None:
        self.reader.close()

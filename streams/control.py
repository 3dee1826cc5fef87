"""What the jobs are told through the control topic.

The live job, by the materializer. A request: repeat the verdicts from these offsets. It asks when it stands at a hole,
or when Redis has lost what it had, and again while it waits, so a request that nobody heard does no harm. And news:
everything below these offsets is applied. A job that starts goes on from there; where that is too high after all, a
hole shows, and a request follows.

The lake job, by whoever compares. A barrier: end a batch at exactly these offsets. It is answered by a manifest; who
hears none in time asks again, with later offsets. And by whoever waits for it to come as far as the topics go: hurry,
do not rest. That ends no batch: cut at each place where somebody has waited, it would come forward in small steps.
"""

import json
import logging
from collections.abc import Iterator

from confluent_kafka import Consumer, Producer, TopicPartition

from infra.kafka import Offsets, admin, consumer, log_bounds
from infra.read_topic import read_topic
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import CONTROL

log = logging.getLogger(__name__)

REPEAT, APPLIED, BARRIER, HURRY = "repeat", "applied", "barrier", "hurry"
NEWEST = 500  # control records among which the last word on a generation is looked for


def control_topic(settings: Settings) -> str:
    return settings.topic_prefix + CONTROL


def request_repeat(producer: Producer, settings: Settings, generation: str, offsets: Offsets) -> None:
    """Ask for every verdict from `offsets` on; of a partition that they leave out, for all.

    Raises Unavailable if the broker does not take it.
    """
    _produce(producer, settings, REPEAT, generation, offsets)
    if producer.flush(15):
        raise Unavailable("the broker did not take a repeat request within 15 s")


def tell_applied(producer: Producer, settings: Settings, generation: str, fences: Offsets) -> None:
    """Tell that everything below `fences` is applied. Not waited for: it is told again."""
    _produce(producer, settings, APPLIED, generation, fences)
    producer.poll(0)


def request_barrier(producer: Producer, settings: Settings, generation: str, offsets: Offsets) -> None:
    """Ask the lake to end a batch at `offsets`. Raises Unavailable if the broker does not take it."""
    _produce(producer, settings, BARRIER, generation, offsets)
    if producer.flush(15):
        raise Unavailable("the broker did not take a request for a barrier within 15 s")


def request_hurry(producer: Producer, settings: Settings, generation: str) -> None:
    """Ask the lake not to rest now. Raises Unavailable if the broker does not take it."""
    _produce(producer, settings, HURRY, generation, {})
    if producer.flush(15):
        raise Unavailable("the broker did not take a request to hurry within 15 s")


def last_needed(settings: Settings, generation: str) -> tuple[float, Offsets] | None:
    """From where on verdicts are needed, by the last word of either kind, and when (epoch seconds) that came."""
    found = None
    for message in read_topic(settings.kafka_bootstrap_servers, control_topic(settings), newest=NEWEST):
        offsets = _offsets(message.value(), (REPEAT, APPLIED), generation)
        if offsets is not None:
            found = message.timestamp()[1] / 1000, offsets
    return found


def _produce(producer: Producer, settings: Settings, kind: str, generation: str, offsets: Offsets) -> None:
    body = {"kind": kind, "generation": generation, "offsets": [[t, p, o] for (t, p), o in offsets.items()]}
    producer.produce(control_topic(settings), json.dumps(body).encode())


class ControlReader:
    """Reads requests that arrive from now on, of the kinds that its reader looks for."""

    def __init__(self, settings: Settings, generation: str) -> None:
        self._settings, self.generation = settings, generation
        name = f"{control_topic(settings)}-reader"
        self.reader: Consumer = consumer(settings.kafka_bootstrap_servers, name)
        self.pass_over()

    def repeat_requested(self, timeout: float) -> Offsets | None:
        """The lowest offsets asked for by the requests that wait, or None after `timeout` seconds without one."""
        wanted: Offsets | None = None
        for _, asked in self._requests((REPEAT,), timeout):
            before = wanted or {}
            both = before.keys() & asked.keys() if wanted is not None else asked.keys()
            # what one of them leaves out is wanted from its beginning
            wanted = {place: min(asked[place], before.get(place, asked[place])) for place in both}
        return wanted

    def barriers_requested(self) -> tuple[list[Offsets], bool]:
        """The barriers that have been asked for since the last call, and whether somebody was told to hurry."""
        asked = list(self._requests((BARRIER, HURRY), 0))
        return [offsets for kind, offsets in asked if kind == BARRIER], any(
            kind == HURRY for kind, _ in asked
        )

    def close(self) -> None:
        self.reader.close()

    def pass_over(self) -> None:
        """Leave aside what has been asked for so far."""
        topic = control_topic(self._settings)
        _, ends = log_bounds(admin(self._settings.kafka_bootstrap_servers), [(topic, 0)])
        self.reader.assign([TopicPartition(topic, 0, ends[topic, 0])])

    def _requests(self, kinds: tuple[str, ...], timeout: float) -> Iterator[tuple[str, Offsets]]:
        """What each is, and asks for."""
        message = self.reader.poll(timeout)
        while message is not None:
            if not message.error():
                for kind in kinds:
                    asked = _offsets(message.value(), (kind,), self.generation)
                    if asked is not None:
                        yield kind, asked
            message = self.reader.poll(0)


def _offsets(value: bytes | None, kinds: tuple[str, ...], generation: str) -> Offsets | None:
    """The offsets in a record of these kinds on this generation; None for anything else."""
    try:
        body = json.loads(value or b"")
        if body["kind"] not in kinds or body["generation"] != generation:
            return None
        return {(str(topic), int(partition)): int(offset) for topic, partition, offset in body["offsets"]}
    except (ValueError, TypeError, KeyError) as error:
        log.warning(
            "a control record that cannot be read is left alone (%r): %r", error, (value or b"")[:200]
        )
        return None

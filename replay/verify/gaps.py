"""What the broker has of a source topic: its records, and where offsets are missing whether there are any. Reads it."""

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, Message, TopicPartition

from infra.kafka import TIMEOUT, admin, consumer, log_bounds
from infra.settings import Settings
from schemas.errors import Unavailable

NEAR = 5_000  # offsets between two gaps that are read over rather than sought
POLL_SECONDS = 0.5
GROUP = "verify"  # nothing is ever committed under it

Gap = tuple[int, int, int]  # partition, first offset, the one behind the last


@dataclass
class Told:
    """What lies in a gap: the offsets of committed records, and of how many offsets the broker does not know."""

    gap: Gap
    records: list[int] = field(default_factory=list)
    untold: int = 0


class SourceTopic:
    """One source topic as the broker has it when this is made; a context manager."""

    def __init__(self, settings: Settings, topic: str, partitions: Iterable[int]) -> None:
        self._name = settings.topic_prefix + topic
        places = [(self._name, partition) for partition in partitions]
        self._client = admin(settings.kafka_bootstrap_servers)
        self._first, self._end = log_bounds(self._client, places)
        self._consumer = consumer(
            settings.kafka_bootstrap_servers,
            GROUP,
            **{
                "enable.partition.eof": True,
                "log_level": 2,
                "fetch.wait.max.ms": 20,  # a partition's end is told with the next answer
                "queued.min.messages": 10_000,  # what is fetched ahead is thrown away with the next place
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def look(self, gaps: Sequence[Gap]) -> list[Told]:
        """What lies in each gap; they are in order. Raises Unavailable."""
        told = []
        for partition, first, end in gaps:
            low, high = (bounds[self._name, partition] for bounds in (self._first, self._end))
            there = max(0, min(end, high) - max(first, low))
            told.append(Told((partition, first, end), untold=end - first - there))
        for near in _near([each for each in told if each.untold < each.gap[2] - each.gap[1]]):
            partition = near[0].gap[0]
            low, high = (bounds[self._name, partition] for bounds in (self._first, self._end))
            starts = [each.gap[1] for each in near]
            for record in self.records(partition, max(low, starts[0]), min(high, near[-1].gap[2])):
                offset = record.offset()
                at = bisect_right(starts, offset) - 1
                if at >= 0 and offset < near[at].gap[2]:
                    near[at].records.append(offset)
        return told

    def span(self, partition: int) -> tuple[int, int]:
        """The first offset that it has now, and the one behind the last."""
        place = self._name, partition
        first, end = log_bounds(self._client, [place])
        return first[place], end[place]

    def records(self, partition: int, first: int, end: int) -> Iterator[Message]:
        """The committed records from `first` to before `end`. Raises Unavailable."""
        self._consumer.assign([TopicPartition(self._name, partition, first)])
        heard = time.monotonic()
        while time.monotonic() - heard < TIMEOUT:
            if (message := self._consumer.poll(POLL_SECONDS)) is None:
                continue
            heard = time.monotonic()
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                if not error.retriable():
                    raise Unavailable(f"the broker does not read {self._name}: {error.str()}")
                continue
            if message.offset() < end:
                yield message
            if message.offset() + 1 >= end:
                return
        raise Unavailable(
            f"expected {self._name}/{partition} from offset {first} to {end}, and the broker gave nothing for "
            f"{TIMEOUT:.0f} s: see whether it is overloaded"
        )


def _near(told: Sequence[Told]) -> list[list[Told]]:
    """Gaps that are read together: of one partition, and near each other."""
    found: list[list[Told]] = []
    for each in told:
        partition, first, _ = each.gap
        if found and found[-1][-1].gap[0] == partition and first - found[-1][-1].gap[2] < NEAR:
            found[-1].append(each)
        else:
            found.append([each])
    return found

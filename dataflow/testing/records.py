"""The small values of the kit: where a record is, a record's raw bytes, a dead letter. Pure."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.testing.events import Event


@dataclass(frozen=True, order=True)
class Place:
    """Where a record is; `topic` is without prefix. `event` is what was produced there, if it was one."""

    topic: str
    partition: int
    offset: int
    event: "Event | None" = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """As a dead letter of it is called."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class Raw:
    """A record as it is, for what is no event: bytes that decode to nothing, a null key, a null value."""

    topic: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Letter:
    """A dead letter: a refused record, where it was, why it was refused, and its bytes.

    `value` is an excerpt if the record was too large; `null_value` tells a null from no bytes.
    """

    place: Place
    reasons: tuple[str, ...]
    key: bytes | None
    value: bytes
    null_value: bool = False


class Record:
    """A record of a log that is no broker's, with the methods of a client's message, as far as DataFlow uses them."""

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        kafka_time: int,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """`kafka_time` is in µs."""
        self._topic, self._partition, self._offset = topic, partition, offset
        self._key, self._value, self._headers = key, value, headers
        self.kafka_time = kafka_time

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        """Kind and ms, as a client gives them."""
        return 2, self.kafka_time // 1000

    def error(self) -> Any:
        return None

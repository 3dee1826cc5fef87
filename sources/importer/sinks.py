"""Where an import writes: Kafka, or nowhere (a dry run). The engine sees only `Sink`, so a dry run takes the same way.

KafkaSink writes events to the source topics and refused lines to the dead letters of the environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.topics import DEAD_LETTER

MAX_DETAIL = 500  # characters


@dataclass(frozen=True)
class RefusedLine:
    """A line that did not become an event: where it stands, its bytes, the rules it breaks, and why in words."""

    mapping: str
    file: str
    line: int
    raw: bytes
    size: int
    reasons: tuple[str, ...]
    detail: str

    @property
    def key(self) -> bytes:
        """The same at every import of the file, so that readers can leave out repeats."""
        return f"{self.file}:{self.line}".encode()

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        fields = {
            "source_topic": f"import:{self.mapping}",
            "file": self.file,
            "line": str(self.line),
            "reasons": ",".join(self.reasons),
            "detail": self.detail[:MAX_DETAIL],
        }
        if self.size > len(self.raw):
            fields["cut_from_bytes"] = str(self.size)
        return [(name, value.encode("utf-8", "replace")) for name, value in fields.items()]


class Sink(Protocol):
    """What an import writes to. `flush` returns when everything handed over is safe, or raises."""

    def event(self, topic: str, event: Mapping[str, Any]) -> None: ...

    def refused(self, line: RefusedLine) -> None: ...

    def flush(self) -> None: ...


class DrySink:
    """Writes nothing."""

    def event(self, topic: str, event: Mapping[str, Any]) -> None:
        pass

    def refused(self, line: RefusedLine) -> None:
        pass

    def flush(self) -> None:
        pass


class EventWriter(Protocol):
    """What KafkaSink needs of a producer (see `sources.producer.EventProducer`)."""

    def produce(self, topic: str, event: Mapping[str, Any]) -> None: ...

    def produce_raw(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None: ...

    def flush(self) -> None: ...


class KafkaSink:
    """Events to their source topics, refused lines to the dead letters, through one producer."""

    def __init__(self, producer: EventWriter) -> None:
        self.producer = producer

    def event(self, topic: str, event: Mapping[str, Any]) -> None:
        self.producer.produce(topic, event)

    def refused(self, line: RefusedLine) -> None:
        self.producer.produce_raw(DEAD_LETTER, line.key, line.raw, line.headers)

    def flush(self) -> None:
        self.producer.flush()

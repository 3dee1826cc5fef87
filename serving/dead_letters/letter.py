"""A dead letter as a value, from the Kafka record that holds it. Pure.

Two kinds are alike here: a refused record of a source topic (its id is `topic/partition/offset`), and a refused line of
an imported file (`file:line`). Headers may be missing or wrong: what somebody else wrote there is shown all the same.
"""

from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from schemas.contract import CONTRACTS
from serving.read.reader import iso_micros
from streams.limits import OWN_HEADER

IMPORT = "import:"
MASK = "***"
REDRIVEN_FROM = "redriven_from"  # header of a record that was put back: which letter it was

Header = tuple[str, bytes | None]
At = tuple[str, int]  # topic that holds letters (full name), partition
Place = tuple[str, int, int]  # the same, offset
Order = tuple[int, int, int, int, str]  # see DeadLetter.order

# What is wrong with a record before any rule of a contract is asked, and what only later stages can tell.
REASONS = {
    "null_value": "The record has no value; a deletion is an event with op d.",
    "null_key": "The record has no key, so Kafka cannot keep it in the order of its entity.",
    "too_large": "Key and value are larger than MAX_EVENT_BYTES.",
    "too_short": "The value is shorter than the 5 bytes of Confluent's header.",
    "wrong_magic_byte": "The value does not begin with a zero byte, as Confluent's wire format does.",
    "unknown_schema_id": "No schema with the id in the header is registered under the topic.",
    "incompatible_schema": "The schema is registered, but the contract cannot read it without guessing.",
    "does_not_fit_contract": "A newer schema allows what the contract cannot hold: a null, more digits, another range.",
    "undecodable": "The bytes are no record under the schema that the header names.",
    "not_canonical": "The bytes decode, but encoding the record again gives others: trailing bytes, oversized numbers.",
    "invalid_utf8": "A text is not UTF-8.",
    "key_is_not_entity_id": "The record's key is not the id that its value holds.",
    "verdict_too_large": "The decoded event is larger than a broker takes.",
    "version_conflict": "Another event of the same entity and version came first, with other content.",
}
LAST_MICROS = 253_402_300_799_999_999  # the end of the year 9999


@dataclass(frozen=True)
class DeadLetter:
    """One refused record or line. Times are µs since 1970; `value` holds the kept bytes, `size` what there were."""

    id: str
    source_topic: str
    source_partition: int | None
    source_offset: int | None
    file: str | None
    line: int | None
    reasons: tuple[str, ...]
    detail: str | None
    kafka_time: int | None  # when the broker took the source record; lines of files have none
    written: int  # when the dead letter was written
    generation: str | None
    size: int
    truncated: bool
    null_value: bool
    topic: str  # where the letter is, full name; so are partition and offset
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()  # of the record

    @classmethod
    def of(cls, message: Message, *, keep_bytes: bool = True) -> "DeadLetter":
        """`keep_bytes` False leaves the original bytes out, for who looks at many."""
        given = message.headers() or ()
        headers = dict(given)
        name, value = message.key(), message.value()
        cut_from = _number(headers, "cut_from_bytes")
        size = _number(headers, "size")
        reasons = (_text(headers, "reasons") or "").split(",")
        return cls(
            id=name.decode("utf-8", "backslashreplace")
            if name
            else f"@{message.topic()}/{message.partition()}/{message.offset()}",
            source_topic=_text(headers, "source_topic") or "unknown",
            source_partition=_number(headers, "source_partition"),
            source_offset=_number(headers, "source_offset"),
            file=_text(headers, "file"),
            line=_number(headers, "line"),
            reasons=tuple(reason for reason in reasons if reason),
            detail=_text(headers, "detail"),
            kafka_time=_time(headers, "kafka_time"),
            written=message.timestamp()[1] * 1000,
            generation=_text(headers, "generation"),
            size=size if size is not None else cut_from if cut_from is not None else len(value or b""),
            truncated=headers.get("truncated") == b"true" or cut_from is not None,
            null_value=headers.get("null_value") == b"true" or value is None,
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            key=headers.get("source_key") if keep_bytes else None,
            value=value if keep_bytes else None,
            headers=tuple(
                (name.removeprefix(OWN_HEADER), value) for name, value in given if name.startswith(OWN_HEADER)
            )
            if keep_bytes
            else (),
        )

    @property
    def time(self) -> int:
        """When the broker took the source record; for a line of a file, when it was refused."""
        return self.written if self.kafka_time is None else self.kafka_time

    @property
    def order(self) -> Order:
        """Grows with the time, and is the same for no two letters."""
        return self.time, self.written, self.partition, self.offset, self.topic

    @property
    def place(self) -> Place:
        return self.topic, self.partition, self.offset

    @property
    def is_import(self) -> bool:
        return self.source_topic.startswith(IMPORT)

    def as_json(self, everything: bool = False) -> dict[str, Any]:
        """What is known about it, without the record itself.

        The detail of a refused line, which the mapping's author wrote and which may quote the line, is masked unless
        `everything` is asked for.
        """
        hidden = self.is_import and self.detail is not None and not everything
        place = (
            {"file": self.file, "line": self.line}
            if self.is_import
            else {"source_partition": self.source_partition, "source_offset": self.source_offset}
        )
        return {
            "id": self.id,
            "source_topic": self.source_topic,
            **place,
            "kafka_time": None if self.kafka_time is None else iso_micros(self.kafka_time),
            "refused_at": iso_micros(self.written),
            "reasons": list(self.reasons),
            "detail": MASK if hidden else self.detail,
            "generation": self.generation,
            "size": self.size,
            "truncated": self.truncated,
            "null_value": self.null_value,
            "dead_letter": {"topic": self.topic, "partition": self.partition, "offset": self.offset},
        }


def describe_reason(topic: str, reason: str) -> str | None:
    """What a reason means: the contract's own words for its rules; None for one that is not known here."""
    if topic in CONTRACTS:
        for rule in CONTRACTS[topic].rules:
            if rule.name == reason:
                return rule.description
    return REASONS.get(reason)


def _text(headers: dict[str, bytes | None], name: str) -> str | None:
    found = headers.get(name)
    return None if found is None else found.decode("utf-8", "backslashreplace")


def _number(headers: dict[str, bytes | None], name: str) -> int | None:
    text = headers.get(name)
    # isdigit of bytes is ASCII only; 18 digits are the most that every later use can hold.
    return int(text) if text is not None and text.isdigit() and len(text) <= 18 else None


def _time(headers: dict[str, bytes | None], name: str) -> int | None:
    """Microseconds since 1970; None for a time that no calendar has."""
    micros = _number(headers, name)
    return micros if micros is not None and micros <= LAST_MICROS else None

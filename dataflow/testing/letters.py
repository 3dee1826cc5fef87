"""Dead letters: from a refused record, as the live job hands it on, and back from the topic. Pure."""

from collections.abc import Iterable

from confluent_kafka import Message

from dataflow.testing.judge import Verdict
from dataflow.testing.records import Letter, Place, Record
from serving.dead_letters import DeadLetter
from serving.materializer.dead_letters import letter_headers
from streams.limits import EXCERPT_BYTES, KEY_BYTES


def letter_of(record: Record | Message, verdict: Verdict, generation: str, max_bytes: int) -> Record:
    """What goes in front of a refusal on the judged topic: the record whole, or an excerpt if it is too large."""
    headers = dict(letter_headers(record, verdict.topic, ",".join(verdict.reasons), generation))
    value = record.value() or b""
    if len(value) + len(record.key() or b"") > max_bytes:
        value, headers["truncated"] = value[:EXCERPT_BYTES], b"true"
    headers["source_key"] = record.key() and record.key()[:KEY_BYTES]
    name = f"{verdict.topic}/{verdict.partition}/{verdict.offset}".encode()
    return Record("", verdict.partition, -1, name, value, verdict.kafka_time, list(headers.items()))


def letters_in(messages: Iterable[Message | Record], topic: str | None = None) -> list[Letter]:
    """The dead letters of source records among `messages`, by place; of several copies the newest stands for all."""
    found = {}
    for message in messages:
        letter = DeadLetter.of(message)
        if letter.source_offset is None or (topic is not None and letter.source_topic != topic):
            continue
        place = Place(letter.source_topic, letter.source_partition, letter.source_offset)
        found[place] = Letter(place, letter.reasons, letter.key, letter.value or b"", letter.null_value)
    return [found[place] for place in sorted(found)]

"""Dead letters: from a refused record, as the live job hands it on, and back from the topic. Pure."""

from collections.abc import Iterable

from confluent_kafka import Message

from dataflow.testing.judge import Verdict
from dataflow.testing.records import Letter, Place, Record
from serving.dead_letters import DeadLetter
from serving.materializer import dead_letters


def letter_of(record: Record | Message, verdict: Verdict, generation: str, max_bytes: int) -> Record:
    """What goes in front of a refusal on the judged topic: the record whole, or an excerpt if it is too large."""
    found = dead_letters.letter_of(record, verdict.topic, ",".join(verdict.reasons), generation, max_bytes)
    return Record("", verdict.partition, -1, found.key(), found.value(), verdict.kafka_time, found.headers())


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

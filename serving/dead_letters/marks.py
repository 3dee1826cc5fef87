"""Marks of dead letters whose records were put back: the records of `<env>.events.redriven`, one a letter. Pure.

A mark is of a place in a source topic as that topic is: one that was deleted and created again has other records at the
same offsets, so the mark says which topic it was.
"""

import json
from collections.abc import Mapping

from confluent_kafka import Message

from infra.kafka import TopicIdentity
from serving.dead_letters.letter import DeadLetter


def mark_of(letter: DeadLetter, topic: TopicIdentity) -> bytes:
    """The value of the record whose key is the letter's id."""
    body = {"reasons": letter.reasons, "generation": letter.generation, "topic_id": topic.topic_id}
    return json.dumps(body).encode()


def marked(message: Message, topics: Mapping[str, TopicIdentity]) -> str | None:
    """The id of the letter that was put back; None if its topic was another one of that name than in `topics`.

    Marks of before they said so count for whichever there is.
    """
    if not message.key():
        return None
    letter_id = message.key().decode("utf-8", "backslashreplace")
    known = topics.get(letter_id.partition("/")[0])
    return letter_id if known is None or _topic_id(message.value()) in (None, known.topic_id) else None


def _topic_id(value: bytes | None) -> str | None:
    try:
        body = json.loads(value or b"{}")
    except ValueError:
        return None
    return body.get("topic_id") if isinstance(body, dict) else None

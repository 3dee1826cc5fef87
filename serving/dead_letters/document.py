"""One dead letter, and how many there are of which kind, as documents for scripts, REST and the page.

Personal data is masked. Reads the registry, to decode.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.settings import Settings
from schemas.errors import Unavailable
from serving.dead_letters.letter import DeadLetter, describe_reason
from serving.dead_letters.original import key_text, shown_bytes, shown_headers
from serving.dead_letters.reveal import Content, reveal, writers_of


def letter_document(
    letter: DeadLetter,
    copies: Sequence[DeadLetter],
    content: Content | None,
    everything: bool,
    whole: DeadLetter | None = None,
) -> dict[str, Any]:
    """All that is known of `letter`; `everything` includes the original bytes and the key, whatever they hold.

    `whole`: the letter with the bytes that it does not keep itself.
    """
    shown = shown_bytes(whole or letter, content, everything=everything)
    kept = len(letter.value or b"")
    return {
        **letter.as_json(everything),
        "reasons": [
            {"rule": rule, "description": describe_reason(letter.source_topic, rule)}
            for rule in letter.reasons
        ],
        "key": key_text(whole or letter, everything=everything),
        "headers": shown_headers(whole or letter, everything=everything),
        "copies": len(copies),
        "content": content and content.as_json(),
        "bytes": {"kept": kept, "shown": len(shown), "hex": shown.hex()},
    }


def content_of(settings: Settings, letter: DeadLetter) -> Content | None:
    """The record as far as it can be read; None for a line of a file, which never was a record."""
    if letter.is_import:
        return None
    if not settings.kafka_schema_registry:
        return Content(None, {}, (), ("not decoded: KAFKA_SCHEMA_REGISTRY is not set",))
    try:
        return reveal(letter, writers_of(settings, letter))
    except Unavailable as error:
        return Content(None, {}, (), (f"not decoded: {error}",))


def summary_rows(counts: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """How many letters by (source topic, reason), the most frequent reason of each topic first."""
    return [
        {
            "source_topic": topic,
            "reason": reason,
            "letters": n,
            "description": describe_reason(topic, reason),
        }
        for (topic, reason), n in sorted(counts.items(), key=lambda each: (each[0][0], -each[1], each[0][1]))
    ]

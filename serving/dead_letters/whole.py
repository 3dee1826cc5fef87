"""A dead letter that keeps only a beginning, with all bytes of the record that it was. Reads the source topic."""

from dataclasses import replace

from infra.settings import Settings
from schemas.errors import Unavailable
from serving.dead_letters.letter import DeadLetter
from serving.materializer.prober import Prober


def whole_letter(settings: Settings, letter: DeadLetter) -> DeadLetter:
    """The letter with the key and value that its source topic has. Raises Unavailable if that has them no more."""
    if letter.source_partition is None or letter.source_offset is None:
        raise Unavailable(f"{letter.id} does not say which record of {letter.source_topic} it was")
    prober = Prober(settings)
    try:
        record = prober.record(letter.source_topic, letter.source_partition, letter.source_offset)
    finally:
        prober.close()
    return replace(letter, key=record.key(), value=record.value(), truncated=False)

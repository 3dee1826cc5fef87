"""The records that dead letters were, for letters that keep only a beginning. Reads source topics, and bronze."""

from dataclasses import replace

from confluent_kafka import Message

from infra.generation import current_generation, source_bounds
from infra.settings import Settings
from schemas.errors import Unavailable
from serving.dead_letters.letter import DeadLetter
from serving.materializer.archived import Archived
from serving.materializer.prober import Prober
from streams.archive import plot


class Originals:
    """Looks up the record that a letter was: in its source topic or, once that has it no more, in the lake's bronze.

    A context manager.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._generation = settings, current_generation(settings)
        self._prober = Prober(settings)

    def __enter__(self) -> "Originals":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._prober.close()

    def record(self, letter: DeadLetter) -> Message:
        """Raises Unavailable if there is none any more, or nothing says which it was."""
        topic, partition, offset = letter.source_topic, letter.source_partition, letter.source_offset
        at = topic, partition
        first, _ = source_bounds(self._settings, self._generation)
        if at not in first or offset is None:
            raise Unavailable(f"{letter.id} does not say which record of {topic} it was")
        course = plot(self._settings, self._generation, {at: offset}, first)
        self._prober.archived = Archived(course)
        return self._prober.record(topic, partition, offset)

    def whole(self, letter: DeadLetter) -> DeadLetter:
        """The letter with all bytes of its record. Raises Unavailable."""
        record = self.record(letter)
        return replace(
            letter,
            key=record.key(),
            value=record.value(),
            headers=tuple(record.headers() or ()),
            truncated=False,
        )

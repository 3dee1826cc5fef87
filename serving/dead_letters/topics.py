"""Which topics hold the dead letters of a generation: its own, and the one that belongs to none.

What a generation's materializer refuses is in `<env>.g1.events.dead_letter`, what file imports refuse in
`<env>.events.dead_letter`. The latter also holds what was refused before generations had topics of their own, all
together; there a header says whose it is. Pure, but for `served_letters`, which reads what generation is served.
"""

from dataclasses import dataclass
from typing import Self

from infra.generation import served_generation
from infra.generations import Generation
from infra.settings import Settings
from schemas.topics import DEAD_LETTER
from serving.dead_letters.letter import DeadLetter


@dataclass(frozen=True)
class LetterTopics:
    """Full names. `generation` is whose letters they are to be looked through for."""

    generation: str
    own: str
    shared: str

    @classmethod
    def of(cls, settings: Settings, generation: Generation) -> Self:
        shared = settings.topic_prefix + DEAD_LETTER
        return cls(generation.name, generation.dead_letter_topic(settings), shared)

    @property
    def names(self) -> tuple[str, str]:
        """In the order to read them in: of a letter that is in both, the copy in the generation's own is the newer."""
        return self.shared, self.own

    def hold(self, letter: DeadLetter) -> bool:
        """Whether a letter in one of these topics is the generation's, or nobody's."""
        return letter.topic == self.own or letter.generation in (None, self.generation)


def served_letters(settings: Settings) -> LetterTopics:
    """Those of the generation that this process serves. Raises GenerationError, Unavailable."""
    return LetterTopics.of(settings, served_generation(settings))

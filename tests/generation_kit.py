"""Generations beside each other, for tests that look at more than one."""

from infra.generation import begin_generation
from infra.generations import LIVE, Changes, Generation, Generations, change_generations
from infra.settings import Settings


def begin_beside(settings: Settings) -> Generation:
    """A further generation of the topics as they are, recorded beside the live one."""

    def decide(now: Generations) -> Changes:
        generation = begin_generation(settings, now.next_number())
        return {generation.name: generation.as_json()}

    recorded = change_generations(settings, decide)
    return recorded.of(max(recorded.known)).generation


def go_live(settings: Settings, number: int) -> None:
    """Move the pointer to a generation that is recorded."""
    change_generations(settings, lambda now: {LIVE: {"number": number, "before": now.live}})

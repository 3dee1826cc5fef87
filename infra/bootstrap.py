"""Create what the jobs expect to exist: topics, schemas in the registry, the first generation. Safe to repeat.

Run as `python -m infra.bootstrap`. Writes Kafka topics and registry subjects of the environment. Under `dataflow up`
(`--pinned`) a generation runs by the code that it was made by. What is being tried here is prepared too, but whether it
fits, or the registry takes it, keeps that generation from nothing.
"""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from infra.code import changed, declared
from infra.entry import PINNED, run_process
from infra.generation import current_generation, first_generation, fit_output_topics, load_generation
from infra.generations import Generation, read_generations
from infra.kafka import CONFIRM_SECONDS, admin, ensure_topics
from infra.registry import register_contracts
from infra.settings import Settings
from schemas.errors import ContractError, DataflowError, Unavailable
from schemas.topics import GENERATIONS, JUDGED, TOPICS

PATIENCE_SECONDS = 30.0  # with what the live generation does not need
PAUSE_SECONDS = 1.0

T = TypeVar("T")


def prepare_topics(settings: Settings) -> list[str]:
    """Topics that are declared and not there yet; returns the full names of those that it created."""
    topics = {settings.topic_prefix + name: topic for name, topic in TOPICS.items() if name != JUDGED}
    return ensure_topics(
        admin(settings.kafka_bootstrap_servers),
        topics,
        settings.kafka_partitions,
        settings.kafka_replication_factor,
    )


def prepare(settings: Settings) -> None:
    """Topics and schemas that are declared and not there yet. Raises ContractError if the registry refuses one."""
    prepare_topics(settings)
    register_contracts(settings)


def bootstrap(settings: Settings, *, pinned: bool = False) -> Generation:
    """Topics, schemas, generation: returns the live one.

    `pinned`: the live one may go on by other code than this, for which its topics are enough. Else raises
    GenerationError if the topics no longer fit it, ContractError if the registry refuses a schema.
    """
    created, told = _tried(lambda: prepare_topics(settings), [], give_up=pinned)
    # What was created just now is surely empty; of an older topic that has to be confirmed.
    new = settings.topic_prefix + GENERATIONS in created
    live = load_generation(settings, 0.0 if new else CONFIRM_SECONDS)
    others = pinned and live is not None and _goes_by_other_code(settings, live)
    told += _tried(lambda: register_contracts(settings), {}, give_up=others)[1]
    if told and not others:
        raise told[0]
    for error in told:
        print(f"{live.name} goes on without what is here: {error}", file=sys.stderr)
    if live is None:
        return first_generation(settings)
    generation = live if others else current_generation(settings)
    # One that began when all generations shared a topic for their dead letters has none of its own yet.
    fit_output_topics(settings, generation)
    return generation


def _tried(step: Callable[[], T], otherwise: T, *, give_up: bool) -> tuple[T, list[DataflowError]]:
    """What a step returns, and why it did not; with `give_up` it is tried for a while, else it raises."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step(), []
        except (ContractError, Unavailable) as error:
            if not give_up:
                raise
            if isinstance(error, ContractError) or time.monotonic() > deadline:
                return otherwise, [error]
            time.sleep(PAUSE_SECONDS)


def _goes_by_other_code(settings: Settings, generation: Generation) -> bool:
    code = read_generations(settings).known[generation.number].code
    return code is not None and bool(changed(code["declared"], declared(settings)))


if __name__ == "__main__":
    sys.exit(run_process(lambda: bootstrap(Settings.load(), pinned=PINNED in sys.argv[1:])))

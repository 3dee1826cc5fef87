"""Create what the jobs expect to exist: topics, schemas in the registry, the first generation. Safe to repeat.

Run as `python -m infra.bootstrap`. Writes Kafka topics and registry subjects of the environment. Under `dataflow up`
(`--pinned`) a generation runs by the code that it was made by. What is being tried here is prepared too, but whether it
fits, or the registry takes it, keeps that generation from nothing.
"""

import sys
import time
from collections.abc import Callable

from infra.code import changed, declared
from infra.entry import PINNED, run_process
from infra.generation import current_generation, first_generation, fit_output_topics, load_generation
from infra.generations import Generation, read_generations
from infra.kafka import CONFIRM_SECONDS, admin, ensure_topics
from infra.registry import register_contracts
from infra.settings import Settings
from schemas.errors import ContractError, DataflowError, Unavailable
from schemas.topics import GENERATIONS, JUDGED, TOPICS

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 1.0


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
    try:
        created, missing = prepare_topics(settings), None
    except Unavailable as error:
        created, missing = [], error
    # What was created just now is surely empty; of an older topic that has to be confirmed.
    new = settings.topic_prefix + GENERATIONS in created
    live = None if missing and not pinned else load_generation(settings, 0.0 if new else CONFIRM_SECONDS)
    others = pinned and live is not None and _goes_by_other_code(settings, live)
    if missing and not others:
        raise missing
    told = _tried(lambda: prepare_topics(settings)) if missing else []
    if others:
        told += _tried(lambda: register_contracts(settings))
    else:
        register_contracts(settings)
    for error in told:
        print(f"{live.name} goes on without what is here: {error}", file=sys.stderr)
    if live is None:
        return first_generation(settings)
    generation = live if others else current_generation(settings)
    # One that began when all generations shared a topic for their dead letters has none of its own yet.
    fit_output_topics(settings, generation)
    return generation


def _tried(step: Callable[[], object]) -> list[DataflowError]:
    """Why a step that the live generation does not need cannot be done, which is found out after a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            step()
            return []
        except ContractError as error:
            return [error]
        except Unavailable as error:
            if time.monotonic() > deadline:
                return [error]
            time.sleep(PAUSE_SECONDS)


def _goes_by_other_code(settings: Settings, generation: Generation) -> bool:
    code = read_generations(settings).known[generation.number].code
    return code is not None and bool(changed(code["declared"], declared(settings)))


if __name__ == "__main__":
    sys.exit(run_process(lambda: bootstrap(Settings.load(), pinned=PINNED in sys.argv[1:])))

"""Create what the jobs expect to exist: topics, schemas in the registry, the first generation. Safe to repeat.

Run as `python -m infra.bootstrap`. Writes Kafka topics and registry subjects of the environment.
"""

import sys

from infra.entry import run_process
from infra.generation import current_generation, first_generation, fit_output_topics, load_generation
from infra.generations import Generation
from infra.kafka import CONFIRM_SECONDS, admin, ensure_topics
from infra.registry import register_contracts
from infra.settings import Settings
from schemas.topics import GENERATIONS, JUDGED, TOPICS


def prepare(settings: Settings) -> list[str]:
    """Topics and schemas that are declared and not there yet; returns the full names of the topics it created."""
    topics = {settings.topic_prefix + name: topic for name, topic in TOPICS.items() if name != JUDGED}
    created = ensure_topics(
        admin(settings.kafka_bootstrap_servers),
        topics,
        settings.kafka_partitions,
        settings.kafka_replication_factor,
    )
    register_contracts(settings)
    return created


def bootstrap(settings: Settings) -> Generation:
    """Topics, schemas, generation: returns the live one. Raises GenerationError if the topics no longer fit it."""
    created = prepare(settings)
    # What was created just now is surely empty; of an older topic that has to be confirmed.
    new = settings.topic_prefix + GENERATIONS in created
    if load_generation(settings, 0.0 if new else CONFIRM_SECONDS) is None:
        return first_generation(settings)
    generation = current_generation(settings)
    # One that began when all generations shared a topic for their dead letters has none of its own yet.
    fit_output_topics(settings, generation)
    return generation


if __name__ == "__main__":
    sys.exit(run_process(lambda: bootstrap(Settings.load())))

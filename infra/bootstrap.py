"""Create what the jobs expect to exist: topics, schemas in the registry, the first generation. Safe to repeat.

Run as `python -m infra.bootstrap`. Writes Kafka topics and registry subjects of the environment.
"""

import sys

from infra.entry import run_process
from infra.generation import Generation, current_generation, load_generation, start_generation
from infra.kafka import admin, ensure_topics
from infra.registry import register_contracts
from infra.settings import Settings
from schemas.topics import JUDGED, TOPICS


def bootstrap(settings: Settings) -> Generation:
    """Topics, schemas, generation: returns the live one. Raises GenerationError if the topics no longer fit it."""
    topics = {settings.topic_prefix + name: topic for name, topic in TOPICS.items() if name != JUDGED}
    ensure_topics(
        admin(settings.kafka_bootstrap_servers),
        topics,
        settings.kafka_partitions,
        settings.kafka_replication_factor,
    )
    register_contracts(settings)
    if load_generation(settings) is None:
        return start_generation(settings, 1)
    return current_generation(settings)


if __name__ == "__main__":
    sys.exit(run_process(lambda: bootstrap(Settings.load())))

"""What the live query was started for, compared with what is: generation, source topics, registered schemas.

Reads the generations topic, topic metadata and the registry, with clients that it keeps: a look is nine requests.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infra.generation import GenerationWatch, compare
from infra.generations import Generation
from infra.kafka import CONFIRM_SECONDS, admin, identities
from infra.registry import RegisteredSchema, TopicSchemas
from infra.settings import Settings
from schemas.errors import ContractError, DataflowError, Transient

if TYPE_CHECKING:
    # It brings Spark with it, which the job in plain Python does without.
    from streams.live.query import Schemas


class Outdated(DataflowError, Transient):
    """This process serves what is no longer so; the one that is started next takes in what is."""


class World:
    """The surroundings of one run of the live job."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self._settings, self._generation = settings, generation
        self._client = admin(settings.kafka_bootstrap_servers)
        self._watch = GenerationWatch(settings, generation)
        self._schemas = TopicSchemas(settings)

    def schemas(self) -> "Schemas":
        """Every schema that the registry has listed for each topic: it never changes, and records of it stay.

        Raises Unavailable, and ContractError if the registry says that a topic has none.
        """
        found = {topic: self._schemas.of(topic) for topic in self._generation.topics}
        empty = [topic for topic, schemas in found.items() if not schemas]
        if empty:
            raise ContractError(
                f"no schema is registered for {', '.join(empty)}: run `python -m infra.bootstrap`"
            )
        return found

    def schemas_of(self, topic: str) -> Sequence[RegisteredSchema]:
        """Those of one topic; none if the registry says that it has none. Raises Unavailable."""
        return self._schemas.of(topic)

    def is_live(self) -> bool:
        """Whether the generation was the live one when `check` looked last."""
        return self._watch.is_live

    def check(self) -> None:
        """Raise Outdated if a new process has to take over, GenerationError if none could go on with these topics."""
        # Before the topics: where they have changed, a new generation is what makes them right again.
        number = self._watch.superseded_by()
        if number is not None:
            raise Outdated(
                f"generation g{number} has taken the place of {self._generation.name}: the job starts again into it"
            )
        prefix = self._settings.topic_prefix
        names = [prefix + topic for topic in self._generation.topics]
        now = identities(self._client, names, CONFIRM_SECONDS)
        grown = compare(
            self._generation, {name.removeprefix(prefix): identity for name, identity in now.items()}
        )
        if grown:
            raise Outdated(f"{', '.join(grown)} got more partitions: the job starts again with more slots")

    def close(self) -> None:
        self._schemas.close()

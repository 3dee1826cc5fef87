"""Which refusals may be applied: those that came with the refused record, and whose schema the registry does not list.

The live query knows the schemas of the moment when it started. What it does not know it leaves undecided, and the
registry's word now settles it: listed, the query has to learn it and judge again; not listed, the record is refused.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Message

from infra.registry import TopicSchemas
from infra.settings import Settings
from schemas.errors import Unavailable

# Everything else waits meanwhile.
TIMEOUT, BETWEEN = 2.0, 10.0  # seconds for an answer, and between questions to a registry that gives none
ACCEPTED, UNDECIDED = "a", "u"
At = tuple[str, int]


class Refusals:
    """Judges refusals of one run after the other. Reads the registry, once a run and topic."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._schemas, self._clock = TopicSchemas(settings, TIMEOUT), clock
        self._listed: dict[str, set[int]] = {}
        self._silent_until = float("-inf")
        self.waiting: set[At] = set()  # partitions with an undecided record next

    def new_run(self) -> None:
        """What the registry said before may be out of date."""
        self._listed.clear()

    def objection(self, verdict: Mapping[str, Any], letter: Message | None) -> str | None:
        """Why this refusal cannot be applied; None if it can."""
        if letter is None:
            return f"the verdict for offset {verdict['o']} is a refusal, and the refused record did not come before it"
        if verdict["v"] != UNDECIDED:
            return None
        at = verdict["t"], verdict["p"]
        schema_id = int.from_bytes((letter.value() or b"")[1:5], "big")
        try:
            if schema_id not in self._ids(verdict["t"]):
                self.waiting.discard(at)
                return None
        except Unavailable as error:
            self.waiting.add(at)
            return f"offset {verdict['o']} has schema id {schema_id}, and nobody says whether there is one: {error}"
        self.waiting.add(at)
        return f"offset {verdict['o']} has schema id {schema_id}, which the live job has yet to learn"

    def may_be_settled(self) -> bool:
        """Whether a partition waits for another verdict, and the registry answers."""
        try:
            for topic, _ in self.waiting:
                self._ids(topic)
        except Unavailable:
            return False
        return bool(self.waiting)

    def close(self) -> None:
        self._schemas.close()

    def _ids(self, topic: str) -> set[int]:
        if topic not in self._listed:
            if self._clock() < self._silent_until:
                raise Unavailable("the schema registry did not answer a moment ago")
            try:
                self._listed[topic] = {schema.schema_id for schema in self._schemas.listed(topic)}
            except Unavailable:
                self._silent_until = self._clock() + BETWEEN
                raise
        return self._listed[topic]

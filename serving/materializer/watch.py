"""A thread that looks around while the materializer works: where the source topics end, whether they are the same."""

import threading

from confluent_kafka import KafkaException

from infra.generation import Generation, GenerationWatch, compare, source_identities
from infra.kafka import Offsets, admin, log_bounds
from infra.settings import Settings
from schemas.errors import DataflowError, Unavailable

LOOK_SECONDS = 1.0
COMPARE_EVERY = 4  # looks


def source_bounds(settings: Settings, generation: Generation) -> tuple[Offsets, Offsets]:
    """First offset and committed end of every source partition, by topic name without prefix."""
    prefix = settings.topic_prefix
    client = admin(settings.kafka_bootstrap_servers)
    first, end = log_bounds(client, [(prefix + topic, p) for topic, p in generation.partitions()])
    return tuple({(t.removeprefix(prefix), p): o for (t, p), o in each.items()} for each in (first, end))


class Watch:
    """`ends` is the newest that is known; `verdict` raises what makes going on impossible."""

    def __init__(self, settings: Settings, generation: Generation, ends: Offsets) -> None:
        self.settings, self.generation = settings, generation
        self.ends = ends
        self._generations = GenerationWatch(settings, generation)
        self._trouble: DataflowError | None = None
        self._stop = threading.Event()
        threading.Thread(target=self._look_around, name="watch", daemon=True).start()

    def verdict(self) -> None:
        """Raises GenerationError if the topics are not those of the generation, Unavailable to start anew."""
        if self._trouble is not None:
            raise self._trouble

    def stop(self) -> None:
        self._stop.set()

    def _look_around(self) -> None:
        looks = 0
        while not self._stop.wait(LOOK_SECONDS):
            looks += 1
            try:
                _, self.ends = source_bounds(self.settings, self.generation)
                if looks % COMPARE_EVERY == 0:
                    self._compare()
            except (Unavailable, KafkaException):
                continue  # the broker is down: those who read notice it themselves
            except DataflowError as error:
                self._trouble = error
                return

    def _compare(self) -> None:
        newer = self._generations.superseded_by()
        if newer is not None:
            self._trouble = Unavailable(f"generation g{newer} is the live one now: starting again with it")
        elif grown := compare(self.generation, source_identities(self.settings)):
            self._trouble = Unavailable(f"{', '.join(grown)} got more partitions: starting again with them")

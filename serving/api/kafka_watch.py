"""What the API knows of Kafka: the live generation and where the source topics end, looked at every second.

A thread of its own, because the client's calls block; the rest of the process reads the newest `KafkaView`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from confluent_kafka.admin import AdminClient

from infra.generation import source_bounds
from infra.generations import Generation, read_generations
from infra.kafka import Offsets, admin, log_bounds
from infra.settings import Settings
from schemas.errors import DataflowError
from schemas.topics import GENERATIONS

INTERVAL = 1.0
STALE_AFTER = 5.0


@dataclass(frozen=True)
class KafkaView:
    """`ends` (topic without prefix, partition → log end) as of `at` on the monotonic clock; `error`: why not newer."""

    generation: Generation | None = None
    ends: Offsets = field(default_factory=dict)
    at: float | None = None
    error: str | None = "Kafka has not answered yet"

    def age(self, now: float) -> float | None:
        """Seconds since the broker told the log ends; None: it never has."""
        return None if self.at is None else now - self.at

    def is_fresh(self, now: float) -> bool:
        return self.at is not None and now - self.at < STALE_AFTER


class KafkaWatch:
    """Keeps `view` up to date. `on_generation` is called in the watch's thread when the live one is another."""

    def __init__(self, settings: Settings, on_generation: Callable[[Generation], None]) -> None:
        self._settings = settings
        self._on_generation = on_generation
        self._generations = (settings.topic_prefix + GENERATIONS, 0)
        self._generations_end: int | None = None
        self._client: AdminClient | None = None
        self._stopped = threading.Event()
        self.view = KafkaView()

    def start(self) -> None:
        # A daemon: a call into a broker that hangs must not hold up the end of the process.
        threading.Thread(target=self._run, name="kafka-watch", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.look()
            except DataflowError as error:
                self.view = replace(self.view, error=str(error))
            except Exception as error:  # noqa: BLE001 - the watch must outlive whatever the client library raises
                self.view = replace(self.view, error=f"{type(error).__name__}: {error}")
            self._stopped.wait(INTERVAL)
        self._client = None

    def look(self) -> None:
        """Once. Raises Unavailable while the broker does not answer."""
        if self.view.generation is None:
            generation = read_generations(self._settings).served(self._settings)
            if generation is None:
                self.view = replace(self.view, error=None)
                return
            self._take(generation)
        self._client = self._client or admin(self._settings.kafka_bootstrap_servers)
        # On its own, and first: while a topic of the old generation lacks a partition its ends cannot be listed.
        newest = log_bounds(self._client, [self._generations])[1][self._generations]
        if newest != self._generations_end:
            generation = read_generations(self._settings).served(self._settings)
            self._generations_end = newest
            if generation is not None and generation != self.view.generation:
                self._take(generation)
        _, ends = source_bounds(self._settings, self.view.generation, self._client)
        self.view = KafkaView(self.view.generation, ends, time.monotonic(), None)

    def _take(self, generation: Generation) -> None:
        self.view = replace(self.view, generation=generation)
        self._on_generation(generation)

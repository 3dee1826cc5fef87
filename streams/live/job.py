"""The live job's driver: keeps the query running and starts it anew when the world around it has changed.

It watches the query, the source topics (created again: refused; more partitions: a new process with more slots), the
registry (a new schema: the query learns it) and the control topic (a request to repeat). Writes the status file.
"""

import time
from pathlib import Path

from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from infra.generation import compare, current_generation, source_identities
from infra.registry import Registry, subject
from infra.settings import Settings
from infra.status import write_status
from schemas.errors import ContractError, Unavailable
from streams.live.attempt import Attempt, load_attempt, store_attempt
from streams.live.control import ControlReader
from streams.live.query import Schemas, start
from streams.spark import session

SPARE_SLOTS = 4
WATCH_SECONDS = 3.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between restarts of a query that fails


class LiveJob:
    """One run of the driver over one generation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generation = current_generation(settings)
        self.directory: Path = settings.state_dir / "checkpoints" / self.generation.name
        self.registry = Registry(settings.kafka_schema_registry)
        self.control = ControlReader(settings, self.generation.name)
        self.attempt = load_attempt(self.directory)
        self.schemas = self.known_schemas()
        slots = len(self.generation.partitions()) + SPARE_SLOTS  # Real-Time Mode holds one a partition
        self.spark: SparkSession = session(settings, "live", slots)
        self.spark.sparkContext.setLogLevel("WARN")

    def known_schemas(self) -> Schemas:
        """Every schema that the registry lists for each topic."""
        found = {t: self.registry.schemas(subject(self.settings, t)) for t in self.generation.topics}
        empty = [topic for topic, schemas in found.items() if not schemas]
        if empty:
            raise ContractError(
                f"no schema is registered for {', '.join(empty)}: run `python -m infra.bootstrap`"
            )
        return found

    def run(self) -> None:
        """Until the process is stopped. Raises GenerationError if the topics do not fit any more."""
        pause = FIRST_PAUSE
        while True:
            checkpoint = str(self.attempt.checkpoint(self.directory))
            query = start(
                self.spark, self.settings, self.generation, self.schemas, checkpoint, self.attempt.starting
            )
            began = time.monotonic()
            try:
                self.watch(query)
            except StreamingQueryException as error:
                print(f"the live query failed and starts again: {error}", flush=True)
                write_status(self.settings.dataflow_status_file, "restarting", reason=str(error)[:500])
                pause = FIRST_PAUSE if time.monotonic() - began > 60 else min(2 * pause, LONGEST_PAUSE)
                self.pause(pause)
            finally:
                query.stop()

    def watch(self, query) -> None:
        """Return when the query has to be started anew."""
        looked = time.monotonic()
        while True:
            wanted = self.control.repeat_requested(timeout=1.0)
            if wanted is not None:
                self.attempt = Attempt(self.attempt.number + 1, wanted)
                store_attempt(self.directory, self.attempt)
                return
            if not query.isActive:
                query.awaitTermination()  # raises what ended it
                return
            write_status(self.settings.dataflow_status_file, "running", attempt=self.attempt.number)
            if time.monotonic() - looked > WATCH_SECONDS:
                looked = time.monotonic()
                if self.world_changed():
                    return

    def world_changed(self) -> bool:
        """Whether a new schema is registered. Raises if the topics are not those of the generation any more."""
        grown = compare(self.generation, source_identities(self.settings))
        if grown:
            raise Unavailable(f"{', '.join(grown)} got more partitions: the job starts again with more slots")
        schemas = self.known_schemas()
        changed = schemas != self.schemas
        self.schemas = schemas
        return changed

    def pause(self, seconds: float) -> None:
        """Wait, but hear a request to repeat: it may be what mends the query."""
        wanted = self.control.repeat_requested(timeout=seconds)
        if wanted is not None:
            self.attempt = Attempt(self.attempt.number + 1, wanted)
            store_attempt(self.directory, self.attempt)

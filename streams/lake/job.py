"""The lake job's driver: a Structured Streaming query over all source topics, whose batches become Delta commits.

The query plans batches and keeps them in its checkpoint; a batch is read, judged, folded and written by
`streams.lake.batches`. Reads the source topics and the newest manifest; writes the lake and the status file.
"""

import json
import logging
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql.streaming import StreamingQuery

from infra.failpoints import Failpoints
from infra.generation import current_generation, source_bounds
from infra.settings import Settings
from infra.status import write_status
from schemas.errors import DataflowError, GenerationError, Unavailable
from streams.archive import Course, plot
from streams.lake.barrier import Barriers
from streams.lake.batches import Batches
from streams.lake.checkpoint import Checkpoint
from streams.lake.clone import begin_as_clone
from streams.lake.code import definition
from streams.lake.evolution import NEW_LAKE
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root
from streams.lake.reading import CONFIG, Reading
from streams.lake.size import Size
from streams.lake.store import LakeStore
from streams.lake.upkeep import Upkeep
from streams.rest import BESIDE, LIVE, LONGEST_SECONDS, rest, rest_after
from streams.spark import end, leave_signals_to_python, session
from streams.stop import StopRequest
from streams.world import World

SLOTS = 4
# Spark plans so many at once at most: within a plan the next batch is read while the one before it is written.
PLANNED_BATCHES = 4
TICK_SECONDS = 0.5
WATCH_SECONDS = 3.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between restarts of a query that fails

log = logging.getLogger(__name__)


class LakeJob:
    """One run of the driver over one generation; a context manager that owns Spark."""

    def __init__(self, settings: Settings, stop: StopRequest) -> None:
        self.settings, self.stop = settings, stop
        self.batches: Batches | None = None
        self.failures = 0  # one after the other, without a batch between them
        self.report("starting")
        self.failpoints = Failpoints(settings)
        self.generation = current_generation(settings)
        with ExitStack() as stack:
            self.world = World(settings, self.generation)
            stack.callback(self.world.close)
            starts = {at: self.generation.start(*at) for at in self.generation.partitions()}
            store = LakeStore(lake_root(settings, self.generation.name), self.failpoints, starts)
            stack.callback(store.close)
            self.follows = False  # the last batch took in all that there was
            self.leaving = False  # the query is about to be stopped
            upkeep = Upkeep(self.failpoints, settings.state_dir / "upkeep" / self.generation.name)
            self.barriers = Barriers(settings, self.generation)
            stack.callback(self.barriers.close)
            self.checkpoint = Checkpoint(settings, self.generation.name)
            stack.enter_context(self.checkpoint.lock())
            if (found := store.newest_manifest()) is None:
                root = lake_root(settings, self.generation.name)
                store.expect_none()
                self.checkpoint.expect_no_batch(root, self.generation, settings.topic_prefix)
                begin_as_clone(
                    settings,
                    self.generation,
                    self.failpoints,
                    self.checkpoint.resume,
                    lambda: self.report("running"),
                )
                found = store.newest_manifest()
            if found is not None:
                self.checkpoint.check(found)
            topics = {topic: identity.topic_id for topic, identity in self.generation.topics.items()}
            schemas = self.world.schemas()
            manifest = store.open(self.generation.name, topics, definition(settings), schemas)
            self.course(manifest)  # before Spark starts, which takes longer than to refuse
            size = Size(self.checkpoint.size, settings.lake_batch_records)
            self.batches = Batches(settings, self.generation, self.world, store, manifest, upkeep, stop, size)
            config = {**CONFIG, "spark.sql.streaming.stopTimeout": "10s"}
            self.spark = session(settings, "lake", SLOTS, config)
            stack.callback(end, self.spark)
            leave_signals_to_python(self.spark)
            self.batches.reading = Reading(self.spark, settings, self.generation, schemas)
            stack.callback(self.batches.reading.close)
            stop.listen()
            self.failure: BaseException | None = None
            self._closing = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.report("stopping")
        self._closing.close()

    def run(self) -> None:
        """Until a stop is asked for. Raises Outdated or Fenced if a new process has to take over."""
        pause = FIRST_PAUSE
        while not self.stop.asked:
            number = self.batches.manifest.number
            try:
                self.run_query()
            except StreamingQueryException as error:
                if self.stop.asked:
                    return
                if isinstance(self.failure, DataflowError):
                    raise self.failure from error
                log.error("the query failed and starts again: %s", self.failure or error)
                moved = self.batches.manifest.number > number
                self.failures += 1
                pause = FIRST_PAUSE if moved else min(2 * pause, LONGEST_PAUSE)
                self.wait(pause)
                # A query that fails sooner than it is watched would else never see that its topics are others now.
                self.world.check()
            except Py4JJavaError:
                raise
            except (Py4JError, ConnectionError) as error:
                raise Unavailable(f"Spark's JVM has ended under the job: {error}") from error

    def run_query(self) -> None:
        """One life of the query: returns when a stop is asked for, raises what ended it."""
        self.failure, self.leaving = None, False
        self.take_from_bronze()
        if self.stop.asked:
            return
        if self.checkpoint.is_ahead(self.batches.since(), self.settings.topic_prefix):
            # Spark would wait for other records before it plans a batch, and these are not in the lake.
            self.checkpoint.resume()
        query = self.start()
        try:
            looked = time.monotonic()
            while not self.stop.asked:
                if query.awaitTermination(TICK_SECONDS):
                    return
                self.report("running")
                if time.monotonic() - looked > WATCH_SECONDS:
                    looked = time.monotonic()
                    self.world.check()
        finally:
            self.leaving = True
            try:
                query.stop()
            except Py4JJavaError as error:
                # What it is at is taken back by the next driver; why this one leaves is told by what it raises.
                log.warning("the query did not stop in time: %s", error.java_exception)

    def take_from_bronze(self) -> None:
        """Take in what the topics no longer hold and another generation's bronze does; the query begins behind it.

        Raises GenerationError if some of it is nowhere, Unavailable if it cannot be read.
        """
        while not self.stop.asked:
            self.batches.reading.course = course = self.course(self.batches.manifest)
            if course.turn == course.since:
                return
            # A checkpoint that is there already has an offset below what Kafka has.
            self.checkpoint.resume()
            self.failpoints.hit("lake.before_bronze_batches")
            ends = [course.since, *self.barriers.ends(course.since, course.turn, self.batches.most)]
            try:
                for _ in self.batches.make(ends):
                    self.report("running")
                    self.world.check()
                    if self.stop.asked:
                        return
            except (PySparkException, Py4JJavaError) as error:
                raise Unavailable(f"bronze could not be read: {str(error).splitlines()[0]}") from error
            self.failpoints.hit("lake.after_bronze_batches")

    def course(self, manifest: Manifest) -> Course:
        """How all records behind this manifest are read. Raises GenerationError if some are nowhere any more."""
        first, _ = source_bounds(self.settings, self.generation)
        course = plot(self.settings, self.generation, manifest.since(self.generation), first, own=False)
        if course.lost:
            raise GenerationError(
                f"expected all records since {self.generation.name} began, and neither Kafka nor bronze of another "
                f"generation has {course.told()} any more: {NEW_LAKE}"
            )
        return course

    def start(self) -> StreamingQuery:
        self.failpoints.hit("lake.before_query")
        prefix = self.settings.topic_prefix
        names = [prefix + topic for topic in self.generation.topics]
        starting: dict[str, dict[str, int]] = {name: {} for name in names}
        for (topic, partition), offset in self.batches.since().items():
            starting[prefix + topic][str(partition)] = offset
        records = (
            self.spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", self.settings.kafka_bootstrap_servers)
            .option("subscribe", ",".join(names))
            .option("startingOffsets", json.dumps(starting))
            .option("failOnDataLoss", "true")
            .option("kafka.isolation.level", "read_committed")
            .option("maxOffsetsPerTrigger", PLANNED_BATCHES * self.batches.planned)
            .load()
        )
        return (
            records.writeStream.foreachBatch(self.query_batch)
            .queryName(f"{self.settings.dataflow_env}-{self.generation.name}-lake")
            .option("checkpointLocation", str(self.checkpoint.directory))
            .trigger(processingTime=f"{self.settings.lake_trigger_seconds} seconds")
            .start()
        )

    def query_batch(self, _: DataFrame, batch_id: int) -> None:
        """What Spark calls for each batch. It comes again after a crash, and then may be done already."""
        try:
            self.checkpoint.begun()
            if batch_id:
                # Spark has written that the batch before this one is done.
                self.failpoints.hit("lake.after_checkpoint")
            until = self.checkpoint.batch_end(batch_id, self.settings.topic_prefix)
            since = self.batches.since()
            planned = {place: max(offset, until.get(place, offset)) for place, offset in since.items()}
            began = time.monotonic()
            ends = [since, *self.barriers.ends(since, planned, self.batches.most)]
            for _ in self.batches.make(ends):
                self.failures = 0
                if (self.stop.asked or self.leaving) and self.batches.since() != planned:
                    raise Unavailable(
                        "a stop was asked for between two batches of one that Spark has planned"
                    )
            followed, self.follows = (
                self.follows,
                sum(planned.values()) - sum(since.values()) < self.batches.most,
            )
            # The last batch of a replay comes at once.
            if followed and self.follows:
                self.batches.follow()
                self.take_a_rest(time.monotonic() - began)
            self.failpoints.hit("lake.before_checkpoint")
        except BaseException as error:
            self.failure = error
            raise

    def take_a_rest(self, worked: float) -> None:
        """Before Spark plans the next batch, which then has all that has come meanwhile."""
        live = self.world.is_live()
        share, longest = (LIVE, self.settings.lake_trigger_seconds) if live else (BESIDE, LONGEST_SECONDS)

        def ended() -> bool:
            gone = self.stop.asked or self.leaving or self.world.is_live() != live
            return gone or self.barriers.wait()

        rest(rest_after(worked, share, longest), ended)

    def report(self, state: str) -> None:
        details = {}
        if self.batches is not None:
            manifest = self.batches.manifest
            details = {
                "batch": manifest.number,
                "generation": manifest.generation,
                "kafka_time": manifest.kafka_time,
                "records": self.batches.records,
                "seconds": self.batches.spent,
                "failures": self.failures,
            }
        write_status(self.settings.dataflow_status_file, state, **details)

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stop.asked and time.monotonic() < until:
            self.report("restarting")
            time.sleep(min(TICK_SECONDS, seconds))

"""The live job's driver: keeps the query running and starts it anew when the world around it has changed.

It watches the query, the world (`streams.world`: topics, generation, schemas) and the control topic (a request to
repeat). Writes the checkpoints' pointer and the status file.
"""

import logging
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming import StreamingQuery

from infra.failpoints import Failpoints
from infra.generation import current_generation, source_bounds
from infra.kafka import Offsets
from infra.settings import Settings
from schemas.errors import ContractError, Unavailable
from streams.archive import plot
from streams.control import ControlReader, last_needed
from streams.lake.cuts import in_shares
from streams.live.answering import Answering
from streams.live.attempt import (
    Attempt,
    committed_at,
    load_attempt,
    remove_other_checkpoints,
    starting_offsets,
    store_attempt,
)
from streams.live.query import start, write_archived, write_range
from streams.live.report import Report
from streams.spark import end, leave_signals_to_python, session
from streams.stop import StopRequest
from streams.throttle import Throttle
from streams.world import World

SPARE_SLOTS = 4
TICK_SECONDS = 0.5  # the longest time that a signal or an ended query waits to be noticed
WATCH_SECONDS = 3.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between restarts of a query that fails
STABLE_SECONDS = 60.0
# Judged out of bronze at a time: so long a stop or a request waits, and so much is judged again after a kill.
ARCHIVED_RECORDS = 100_000
# The query outlives a broker that restarts; so does the driver.
PATIENCE_SECONDS = 60.0

log = logging.getLogger(__name__)


class LiveJob:
    """One run of the driver over one generation; a context manager that owns Spark."""

    def __init__(self, settings: Settings, stop: StopRequest) -> None:
        self.settings, self.stop = settings, stop
        self.report = Report(settings)
        self.report.write("starting")
        self.failpoints = Failpoints(settings)
        self.generation = current_generation(settings)
        self.directory: Path = settings.state_dir / "checkpoints" / self.generation.name
        self.attempt = load_attempt(self.directory)
        self.answering = Answering(settings, self.generation)
        self.failures = 0  # of the query, one after the other
        self.reason = ""  # of the last one
        self.out_of_touch: float | None = None  # since when the world does not answer
        self.control = ControlReader(settings, self.generation.name)
        self.world = World(settings, self.generation)
        self.schemas = self.world.schemas()
        self.throttle = Throttle(settings, self.world.is_live)
        partitions = len(self.generation.partitions())
        config = {
            # Streams cannot use adaptive execution, and say so at every start.
            "spark.sql.adaptive.enabled": "false",
            # Room for the consumers of this query and of the one before it, which Spark keeps for five minutes.
            "spark.kafka.consumer.cache.capacity": str(2 * partitions),
        }
        # Real-Time Mode holds one slot a partition.
        self.spark = session(settings, "live", partitions + SPARE_SLOTS, config)
        leave_signals_to_python(self.spark)
        stop.listen()
        self.report.know(generation=self.generation.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk
            if error is not None:
                self.report.failed(f"{type(error).__name__}: {error}")
            self.report.write("stopping")
        self.control.close()
        self.world.close()
        end(self.spark)

    def run(self) -> None:
        """Until a stop is asked for. Raises Outdated if a new process has to take over, GenerationError if none can."""
        pause = FIRST_PAUSE
        while not self.stop.asked:
            self.began()
            try:
                self.run_query()
            except StreamingQueryException as error:
                reason = root_cause(error)
                log.error("the query failed and starts again: %s", reason)
                # The same reason after minutes, and nothing committed: the same record, most likely.
                stable = self.came_on() or (self.is_stable() and reason != self.reason)
                self.failures, self.reason = 1 if stable else self.failures + 1, reason
                self.report.failed(reason, self.failures)
                self.answering.failed()
                pause = FIRST_PAUSE if stable else min(2 * pause, LONGEST_PAUSE)
                self.pause(pause)
                # A query that fails sooner than it is watched would else never see that its topics are others now.
                self.schemas_changed()
            except Py4JJavaError as error:
                log.exception("Spark failed outside the query")
                raise Unavailable(f"Spark failed outside the query: {error.java_exception}") from error
            except (Py4JError, ConnectionError) as error:
                raise Unavailable(f"Spark's JVM has ended under the job: {error}") from error

    def began(self) -> None:
        """A query is about to start. What it commits from now on is its own."""
        self.since = time.monotonic(), committed_at(self.directory, self.attempt) or 0.0

    def came_on(self) -> bool:
        """Whether the query has committed anything since it began."""
        return (committed_at(self.directory, self.attempt) or 0.0) > self.since[1]

    def is_stable(self) -> bool:
        """Whether the query works, as far as one can tell: it may be minutes away from a record that it fails at."""
        return self.came_on() or time.monotonic() - self.since[0] > STABLE_SECONDS

    def run_query(self) -> None:
        """One life of the query: returns when it has to be started anew, raises what ended it."""
        self.skip_what_is_applied()
        if not self.judge_archived() or not self.judge_slowly():
            return
        self.failpoints.hit("live.before_query_start")
        self.answering.begins(committed_at(self.directory, self.attempt))
        query = start(
            self.spark,
            self.settings,
            self.generation,
            self.schemas,
            str(self.attempt.checkpoint(self.directory)),
            self.attempt.starting,
        )
        try:
            self.failpoints.hit("live.after_query_start")
            self.report.know(attempt=self.attempt.number)
            self.report.query_started(str(query.id), str(query.runId))
            remove_other_checkpoints(self.directory, self.attempt)
            self.watch(query)
        finally:
            query.stop()

    def skip_what_is_applied(self) -> None:
        """Begin a new attempt where the materializer stood last, unless the checkpoint's last commit is newer."""
        committed = committed_at(self.directory, self.attempt)
        if committed is None and self.attempt.starting is not None:
            return  # asked for, and not yet begun
        try:
            needed = last_needed(self.settings, self.generation.name)
            if needed is None or needed[0] <= (committed or 0.0):
                return
            first, end = source_bounds(self.settings, self.generation)
        except Unavailable as error:
            log.warning("starting from the checkpoint: %s", error)
            return
        self.failpoints.hit("live.before_skip")
        self.begin(starting_offsets(self.generation, needed[1], first, end))
        self.failpoints.hit("live.after_skip")

    def judge_archived(self) -> bool:
        """Judge what bronze has and the topics no longer hold, from where verdicts are needed; the query begins behind.

        What is in neither is passed over here: it is a hole, at which whoever applies the verdicts stops. Returns
        whether the query may start: not if a stop is asked for, or a repeat. Raises Unavailable.
        """
        if committed_at(self.directory, self.attempt):
            return True  # its checkpoint is behind where it began
        wanted = self.attempt.starting or {}
        since = {at: wanted.get(at, self.generation.start(*at)) for at in self.generation.partitions()}
        try:
            first, _ = source_bounds(self.settings, self.generation)
        except Unavailable as error:
            # A trial's query would begin where the topics do.
            if self.generation.archive is not None or (self.attempt.starting is None and any(since.values())):
                raise
            log.warning("where the topics begin is not to be seen: %s", error)
            return True
        course = plot(self.settings, self.generation, since, first)
        if course.start == since:
            if self.attempt.starting is None and any(offset > first[at] for at, offset in since.items()):
                self.begin(since)  # a trial begins behind where the topics do, and a query of its own at that
            return True
        if course.lost:
            log.error("in neither Kafka nor bronze, and passed over: %s", course.told())
        self.failpoints.hit("live.before_archived")
        self.begin(since)  # a query that was started already may have remembered where it began
        looked, most = time.monotonic(), min(ARCHIVED_RECORDS, self.settings.lake_batch_records)
        if self.throttle.holds:
            most = min(most, self.throttle.step)
        for until in in_shares(since, course.turn, most):
            if self.stop.asked or self.repeat_begun(0):
                return False
            self.report.write("running")
            if time.monotonic() - looked > WATCH_SECONDS:
                looked = time.monotonic()
                self.schemas_changed()
            write_archived(self.spark, self.settings, self.generation, self.schemas, course, since, until)
            self.failpoints.hit("live.after_archived_write")
            self.throttle.took(sum(until[at] - since[at] for at in since))
            self.throttle.wait(lambda: self.stop.asked)
            since = until
            self.move_on(since)
            self.failpoints.hit("live.after_archived")
        self.move_on(course.start)
        return not self.stop.asked

    def judge_slowly(self) -> bool:
        """Judge what the topics hold in steps, at the pace that is allowed, until it has all but caught up.

        Returns whether the query may start, which knows no pace. Raises Unavailable.
        """
        if not self.throttle.holds or committed_at(self.directory, self.attempt):
            return True
        wanted = self.attempt.starting or {}
        since = {at: wanted.get(at, self.generation.start(*at)) for at in self.generation.partitions()}
        self.begin(since)  # a query that was started already may have remembered where it began
        self.control.pass_over()
        while not self.stop.asked:
            self.report.write("running")
            self.schemas_changed()
            first, end = source_bounds(self.settings, self.generation)
            wanted = self.control.repeat_requested(0)
            # Who waits for what has not been judged yet is answered by going on, and not by beginning anew.
            if wanted is not None and any(wanted.get(at, 0) < offset for at, offset in since.items()):
                since = starting_offsets(self.generation, wanted, first, end)
                self.begin(since)
                return self.judge_archived() and self.judge_slowly()
            until = {at: max(offset, end.get(at, offset)) for at, offset in since.items()}
            behind = sum(until[at] - since[at] for at in since)
            if self.throttle.is_caught_up(behind):
                return True
            until = next(in_shares(since, until, self.throttle.step))
            self.failpoints.hit("live.before_step")
            write_range(self.spark, self.settings, self.generation, self.schemas, since, until)
            self.failpoints.hit("live.after_step")
            # A step may take a minute: who asked before its verdicts were there does not know of them.
            self.control.pass_over()
            self.throttle.took(sum(until[at] - since[at] for at in since))
            since = until
            self.move_on(since)
            self.throttle.wait(lambda: self.stop.asked)
        return False

    def move_on(self, starting: Offsets) -> None:
        """All before `starting` is judged by this attempt, before its query has begun."""
        self.attempt = replace(self.attempt, starting=starting)
        store_attempt(self.directory, self.attempt)

    def begin(self, starting: Offsets) -> None:
        """Make a new attempt the current one."""
        self.attempt = Attempt(self.attempt.number + 1, starting)
        store_attempt(self.directory, self.attempt)
        log.info("attempt %d starts at %s", self.attempt.number, starting)

    def watch(self, query: StreamingQuery) -> None:
        """Return when the query has to be started anew, or a stop is asked for."""
        looked, works = time.monotonic(), not self.failures
        while not self.stop.asked:
            if self.repeat_begun(TICK_SECONDS):
                return
            if not works and (works := self.is_stable()):
                self.report.know(failures=0)
            if not query.isActive:
                query.awaitTermination()  # raises what ended it
                return
            self.report.write("running")
            if time.monotonic() - looked > WATCH_SECONDS:
                looked = time.monotonic()
                if self.schemas_changed():
                    return

    def schemas_changed(self) -> bool:
        """Whether a new schema is registered. Raises if the world is not the one that this process was started for."""
        try:
            self.world.check()
        except Unavailable as error:
            now = time.monotonic()
            if self.out_of_touch is None:
                self.out_of_touch = now
                log.warning("the query goes on, but its surroundings are not to be seen: %s", error)
            if now - self.out_of_touch > PATIENCE_SECONDS:
                raise
            return False
        self.out_of_touch = None
        try:
            schemas = self.world.schemas()
        except (Unavailable, ContractError) as error:
            # The query has what it needs: without a registry it only learns of no newer schema.
            if self.report.registry_fails(str(error)):
                log.warning("the query goes on with the schemas that it knows: %s", error)
            return False
        if self.report.registry_answers():
            log.info("the registry answers again")
        if schemas == self.schemas:
            return False
        log.info("a new schema is registered: the query starts again and knows it")
        self.schemas = schemas
        return True

    def pause(self, seconds: float) -> None:
        """Wait, but hear a stop, and a request to repeat: it may be what mends the query."""
        until = time.monotonic() + seconds
        while not self.stop.asked and (left := until - time.monotonic()) > 0:
            self.report.write("restarting")
            if self.repeat_begun(min(left, TICK_SECONDS)):
                return

    def repeat_begun(self, timeout: float) -> bool:
        """Whether a request to repeat came within `timeout` seconds and made a new attempt the current one."""
        wanted = self.control.repeat_requested(timeout)
        if wanted is None:
            return False
        first, end = source_bounds(self.settings, self.generation)
        starting = starting_offsets(self.generation, wanted, first, end)
        if self.answering.answers(self.attempt, starting):
            return False
        log.info("a repeat is asked for")
        self.schemas_changed()  # a record of a new one may be the reason
        self.failpoints.hit("live.before_store_attempt")
        self.begin(starting)
        self.answering.requested()
        self.failpoints.hit("live.after_store_attempt")
        return True


def root_cause(error: StreamingQueryException) -> str:
    """What ended the query, in one line and without the way to it: the exception's own text holds the whole plan."""
    line = str(error).strip().splitlines()[0]
    return line.rpartition("terminated with exception: ")[2].rpartition("executor driver): ")[2]

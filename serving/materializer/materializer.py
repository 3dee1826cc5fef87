"""The materializer's loop: take verdicts, admit the next offset of each source partition, fold, commit at once.

Reads the judged topic (from positions in Redis) and, at gaps, the source topics, or bronze for what these no longer
hold; the generation's lake, to begin with what that has where Redis has nothing. Writes Redis, through one
compare-and-set per run; dead letters; requests to repeat at holes. Whatever goes wrong in Redis,
it claims the state anew and goes on from what is there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from confluent_kafka import Message

from infra.failpoints import Failpoints
from infra.generation import current_generation, source_bounds
from infra.kafka import Offsets
from infra.settings import Settings
from infra.status import write_status
from schemas.errors import DataflowError, Transient
from schemas.metrics import DIMENSIONS, METRICS
from serving.fold.fold import Fold
from serving.fold.plan import Plan
from serving.materializer.admission import Admission
from serving.materializer.archived import Archived
from serving.materializer.dead_letters import DeadLetters
from serving.materializer.filling import Filling
from serving.materializer.founding import found
from serving.materializer.judged import JudgedReader
from serving.materializer.live_job import LiveJob
from serving.materializer.prober import Prober
from serving.materializer.refusals import ACCEPTED, Refusals
from serving.materializer.rounds import Rounds
from serving.materializer.watch import Watch
from serving.materializer.writer import Writer
from serving.store.keys import Keys, place
from serving.store.store import Store, connect
from streams.archive import plot
from streams.throttle import Throttle

RUN = 500  # verdicts in one commit; a larger one blocks the server for everybody
PATIENCE = 0.2  # seconds to wait for a verdict
TICK = 1.0
SKEW_MS = 60_000  # by which the clocks of two brokers may differ
SETTLING = 10.0
REQUIRED = {"t", "p", "o", "ts", "v"}
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Pace:
    """Called with a number of rows that were written: waits until more may be, and looks around meanwhile."""

    def __init__(self, throttle: Throttle, look: Callable[[], object]) -> None:
        self._throttle, self._look = throttle, look

    def __call__(self, rows: int) -> None:
        self._throttle.took(rows)
        self._throttle.wait(lambda: False)
        self._look()


class Materializer:
    """One process's work on the live generation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generation = current_generation(settings)
        self.keys = Keys.of(settings, self.generation.name)
        self.store = Store(connect(settings), self.keys)
        self.fold = Fold(Plan(METRICS, DIMENSIONS, settings.shop_timezone), self.keys)
        self.definition = self.fold.plan.digest(settings.max_event_bytes)
        self.failpoints = Failpoints(settings)
        self.judged = JudgedReader(settings, self.generation.judged_topic(settings))
        self.prober = Prober(settings)
        self.letters = DeadLetters(settings, self.generation)
        self.refusals = Refusals(settings)
        _, ends = source_bounds(settings, self.generation)
        self.watch = Watch(settings, self.generation, ends)
        self.live_job = LiveJob(settings, self.generation.name)
        pace = Pace(Throttle(settings, lambda: self.watch.is_live), self.watch.verdict)
        self.filling = Filling(
            settings, self.generation, self.fold, self.store, self.letters, self.failpoints, pace
        )
        self.filled_from: int | None = None  # the manifest that the last claim began with
        self.claims = self.applied = self.dropped = self.taken = 0

    def run(self) -> None:
        """Until the process is stopped. Raises GenerationError for what needs a new generation."""
        pause = FIRST_PAUSE
        while True:
            try:
                self.wait_for_lake()
                self.claim()
                pause, ticked = FIRST_PAUSE, 0.0
                while True:
                    self.step(self.judged.take(RUN, PATIENCE))
                    if time.monotonic() - ticked > TICK:
                        ticked = time.monotonic()
                        self.tick()
            except DataflowError as error:
                self.watch.verdict()
                if not isinstance(error, Transient):
                    raise
                print(f"claiming the state anew: {error}", flush=True)
                write_status(self.settings.dataflow_status_file, "recovering", reason=str(error)[:500])
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def close(self) -> None:
        """Let go of what it holds; nothing has to be put in order."""
        self.watch.stop()
        self.judged.close()
        self.prober.close()
        self.refusals.close()
        self.store.redis.close()

    # --- taking over what Redis holds

    def wait_for_lake(self) -> None:
        """Until the lake has enough to begin with, where that comes first and nothing can be shown yet."""
        while self.generation.lake_first and not self.watch.is_live and not self.store.has_begun():
            self.watch.verdict()
            if self.filling.source(self.watch.ends) is not None:
                return
            write_status(
                self.settings.dataflow_status_file,
                "running",
                generation=self.generation.name,
                lag=sum(end - self.generation.start(*at) for at, end in self.watch.ends.items()),
                waiting_for="lake",
            )
            time.sleep(TICK)

    def claim(self) -> None:
        """Become the one writer, start what is not there yet, read on from the positions in Redis."""
        claimed = self.store.claim()
        self.failpoints.hit("materializer.after_claim")
        first, ends = self.bounds(claimed.fences)
        starts = {at: self.generation.start(*at) for at in self.generation.partitions()}
        bounds, filled, last = self.judged.bounds(), {}, []
        if claimed.spec is None and (manifest := self.filling.source(ends)) is not None:
            filled = {at: manifest.until.get(at, start) for at, start in starts.items()}
            claimed, last = self.filling.fill(claimed, manifest)
            self.filled_from = manifest.number
            claimed = replace(claimed, judged=self.judged_since(filled, ends, bounds[1]))
        elif claimed.is_half_filled:
            self.store.clear(claimed.epoch)
            last = [("D", self.keys.meta, ["filling"])]
        course = plot(self.settings, self.generation, starts | filled | claimed.fences, first)
        founding = found(claimed, self.definition, starts, ends, bounds, self.keys, course.lost, filled)
        self.prober.archived = Archived(course)
        self.watch.ends = ends
        self.store.commit(claimed.epoch, {}, [*founding.operations, *last])
        self.failpoints.hit("materializer.after_founding")
        if self.generation.lake_first and bounds[0] == bounds[1]:
            self.live_job.request(founding.fences, "its verdicts begin where the lake has come to")
        self.writer = Writer(self.store, self.fold, claimed, self.prober, self.letters, self.failpoints)
        self.admission = Admission(founding.fences, self.prober.next_offset, claimed.held)
        self.rounds = Rounds(
            self.store,
            self.writer,
            claimed,
            self.admission,
            self.letters,
            self.refusals,
            self.live_job,
            self.watch,
            founding.rebuild,
        )
        self.positions = dict(claimed.judged)
        self.letters.forget()
        self.refusals.waiting.clear()
        self.claims += 1
        self.judged.assign(self.positions)

    def bounds(self, fences: Offsets) -> tuple[Offsets, Offsets]:
        """Where the source topics begin and end. A new leader may not know at once what was committed before."""
        deadline = time.monotonic() + SETTLING
        while True:
            first, ends = source_bounds(self.settings, self.generation)
            if (
                all(fence <= ends.get(at, fence) for at, fence in fences.items())
                or time.monotonic() > deadline
            ):
                return first, ends
            time.sleep(0.5)

    def judged_since(self, filled: Offsets, ends: Offsets, judged_ends: Mapping[int, int]) -> dict[int, int]:
        """From where to read the judged topic for the verdicts from `filled` on.

        No verdict is older than its record. Where one is missing all the same, that shows as a hole.
        """
        oldest = None
        for at, offset in filled.items():
            if offset < ends[at] and (time_ms := self.prober.time_of_next(*at, offset, ends[at])) is not None:
                oldest = min(time_ms, oldest or time_ms)
        if oldest is None:
            return dict(judged_ends)
        return self.judged.positions_at(oldest - SKEW_MS)

    # --- applying verdicts

    def step(self, messages: Sequence[Message]) -> None:
        """Apply what is next among `messages`; drop what was applied before; hold what stands behind a hole."""
        if not messages:
            return
        self.taken += len(messages)
        run, letters = [], []
        self.refusals.new_run()
        for message in messages:
            self.positions[message.partition()] = message.offset() + 1
            if message.headers():
                self.letters.keep(message)
                continue
            verdict = self.verdict_in(message)
            if verdict is None:
                continue
            letter = self.letters.of(verdict["t"], verdict["p"], verdict["o"])
            if verdict["v"] == ACCEPTED:
                admitted = self.admission.admits(verdict)
            else:
                admitted = self.admission.admits(verdict, partial(self.refusals.objection, verdict, letter))
                letters += [letter] if admitted else []
            if admitted:
                run.append(verdict)
            else:
                self.dropped += 1
        if self.admission.new_holes:
            holes = [f"{place(*at)}: {self.admission.held.get(at)}" for at in self.admission.new_holes]
            self.admission.new_holes.clear()
            self.live_job.request(self.admission.fences, "; ".join(holes))
        if self.admission.ranges() or self.admission.holds_changed:
            self.writer.commit(run, letters, self.admission, self.letters.positions(self.positions))
            self.applied += len(run)

    def verdict_in(self, message: Message) -> dict[str, Any] | None:
        """The verdict that a judged record holds; None if it holds none: what it may have hidden shows as a hole."""
        try:
            verdict = orjson.loads(message.value() or b"")
            if verdict.keys() >= REQUIRED and verdict["t"] in self.fold.plan.topics:
                return verdict
        except (ValueError, AttributeError, TypeError):
            pass
        print(
            f"{message.topic()}/{message.partition()}/{message.offset()} holds no verdict: passed over",
            flush=True,
        )
        return None

    # --- once a second

    def tick(self) -> None:
        """Look at what does not move, and say how it goes. Raises what makes going on impossible."""
        self.rounds.look(self.taken, self.positions)
        held, lag = self.admission.held, self.rounds.lag
        write_status(
            self.settings.dataflow_status_file,
            "running",
            generation=self.generation.name,
            epoch=self.writer.epoch,
            claims=self.claims,
            applied=self.applied,
            dropped=self.dropped,
            filled_from=self.filled_from,
            lag=lag,
            held={place(*at): reason for at, reason in held.items()},
        )

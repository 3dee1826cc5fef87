"""The materializer's loop: take verdicts, admit the next offset of each source partition, fold, commit at once.

Reads the judged topic (from positions in Redis) and, at gaps, the source topics, or bronze for what these no longer
hold; the generation's lake, to begin with what that has where Redis has nothing. Writes Redis, through one
compare-and-set per run; dead letters; requests to repeat at holes. Whatever goes wrong in Redis,
it claims the state anew and goes on from what is there.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from confluent_kafka import Message

from infra.failpoints import Failpoints
from infra.generation import current_generation, source_bounds
from infra.settings import Settings
from infra.status import write_status
from schemas.errors import DataflowError, Transient
from schemas.metrics import DIMENSIONS, METRICS
from serving.fold.fold import Fold
from serving.fold.plan import Plan
from serving.materializer.admission import Admission
from serving.materializer.dead_letters import DeadLetters
from serving.materializer.judged import JudgedReader
from serving.materializer.live_job import LiveJob
from serving.materializer.prober import Prober
from serving.materializer.refusals import ACCEPTED, Refusals
from serving.materializer.rounds import Rounds
from serving.materializer.takeover import Takeover
from serving.materializer.watch import Watch
from serving.materializer.writer import Writer
from serving.store.keys import Keys, place
from serving.store.store import Store, connect

RUN = 500  # verdicts in one commit; a larger one blocks the server for everybody
PATIENCE = 0.2  # seconds to wait for a verdict
TICK = 1.0
REQUIRED = {"t", "p", "o", "ts", "v"}
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Materializer:
    """One process's work on the live generation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generation = current_generation(settings)
        self.keys = Keys.of(settings, self.generation.name)
        self.store = Store(connect(settings), self.keys)
        self.fold = Fold(Plan(METRICS, DIMENSIONS, settings.shop_timezone), self.keys)
        self.failpoints = Failpoints(settings)
        self.judged = JudgedReader(settings, self.generation.judged_topic(settings))
        self.prober = Prober(settings)
        self.letters = DeadLetters(settings, self.generation)
        self.refusals = Refusals(settings)
        _, ends = source_bounds(settings, self.generation)
        self.watch = Watch(settings, self.generation, ends)
        self.live_job = LiveJob(settings, self.generation.name)
        self.takeover = Takeover(
            settings,
            self.generation,
            self.fold,
            self.store,
            self.letters,
            self.judged,
            self.prober,
            self.watch,
            self.live_job,
            self.failpoints,
        )
        self.filled_from: int | None = None  # the manifest that the last claim began with
        self.claims = self.applied = self.dropped = self.taken = 0

    def run(self) -> None:
        """Until the process is stopped. Raises GenerationError for what needs a new generation."""
        pause = FIRST_PAUSE
        while True:
            try:
                self.takeover.wait_for_lake()
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

    def claim(self) -> None:
        """Become the one writer, start what is not there yet, read on from the positions in Redis."""
        taken = self.takeover.take()
        claimed, founding = taken.claimed, taken.founding
        self.filled_from = taken.filled_from
        self.watch.ends = taken.ends
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

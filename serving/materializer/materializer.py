"""The materializer's loop: take verdicts, admit the next offset of each source partition, fold, commit at once.

Reads the judged topic (from positions in Redis) and, at gaps, the source topics. Writes Redis, through one
compare-and-set per run; dead letters for version conflicts; requests to repeat at holes. Whatever goes wrong in Redis,
it claims the state anew and goes on from what is there.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import Message

from infra.failpoints import Failpoints
from infra.generation import current_generation
from infra.settings import Settings
from infra.status import write_status
from schemas.errors import DataflowError, GenerationError, Transient
from schemas.metrics import DIMENSIONS, METRICS
from serving.fold.fold import CONFLICT, SUMMARY, Effects, Fold, Place
from serving.fold.plan import Plan
from serving.fold.state import Facts, Known, Latest
from serving.materializer.admission import Admission
from serving.materializer.dead_letters import DeadLetters
from serving.materializer.judged import JudgedReader
from serving.materializer.operations import operations
from serving.materializer.prober import Prober
from serving.materializer.repeats import Repeats
from serving.materializer.watch import Watch, source_bounds
from serving.store.keys import Keys, place
from serving.store.store import Claimed, Operation, Store, connect

RUN = 300  # verdicts in one commit: 100-500 keys; a larger one blocks the server for everybody
PATIENCE = 0.2  # seconds to wait for a verdict
TICK = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Materializer:
    """One process's work on the live generation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generation = current_generation(settings)
        self.plan = Plan(METRICS, DIMENSIONS, settings.shop_timezone)
        self.keys = Keys.of(settings, self.generation.name)
        self.store = Store(connect(settings), self.keys)
        self.fold = Fold(self.plan, self.keys)
        self.failpoints = Failpoints(settings)
        self.judged = JudgedReader(settings, self.generation.judged_topic(settings))
        self.prober = Prober(settings)
        self.letters = DeadLetters(settings, self.generation.name)
        _, ends = source_bounds(settings, self.generation)
        self.watch = Watch(settings, self.generation, ends)
        self.repeats = Repeats(settings, self.generation.name)
        self.known = Known()
        self.claims = self.applied = self.dropped = self.taken = 0

    def run(self) -> None:
        """Until the process is stopped. Raises GenerationError for what needs a new generation."""
        pause = FIRST_PAUSE
        while True:
            try:
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
        self.store.redis.close()

    # --- taking over what Redis holds

    def claim(self) -> None:
        """Become the one writer, start what is not there yet, read on from the positions in Redis."""
        claimed = self.store.claim()
        self.failpoints.hit("materializer.after_claim")
        self.epoch = claimed.epoch
        self.store.commit(self.epoch, {}, self.founding(claimed))
        self.failpoints.hit("materializer.after_founding")
        self.claims += 1
        self.known = Known()
        self.newest, self.kafka_time = dict(claimed.newest), claimed.kafka_time
        self.dimensions_version = claimed.dimensions_version
        self.positions = dict(claimed.judged)
        self.taken_before = -1
        self.judged.assign(self.positions)

    def founding(self, claimed: Claimed) -> list[Operation]:
        """What has to be in Redis before the first run: the definition, where each partition begins, what was lost."""
        if claimed.spec not in (None, self.plan.digest):
            raise GenerationError(
                f"generation {self.generation.name} was folded by other metrics or another SHOP_TIMEZONE (expected "
                f"definition {claimed.spec}, saw {self.plan.digest}): put them back, or let "
                "`dataflow generation new` fold everything again by the new ones"
            )
        first, ends = source_bounds(self.settings, self.generation)
        self.watch.ends = ends
        base, fences = claimed.base, dict(claimed.fences)
        gone = [place(*at) for at, fence in fences.items() if fence < first.get(at, 0)]
        if gone:
            raise GenerationError(
                f"the topics no longer hold what comes next in {', '.join(gone)}: retention or DeleteRecords took it; "
                "`dataflow generation new` starts over from what is there"
            )
        new = {at: offset for at, offset in first.items() if at not in base}
        fences |= new
        self.admission = Admission(fences, self.probe, claimed.held)
        self.targets = dict(claimed.rebuild)
        meta: list[Any] = ["spec", self.plan.digest, "server", claimed.server_now]
        # What may have been shown before and may be missing now: nothing is shown until it is there again.
        if claimed.spec is None or claimed.server != claimed.server_now:
            self.targets |= {at: end for at, end in ends.items() if end > fences.get(at, 0)}
            for at, end in self.targets.items():
                meta += (f"rebuild:{place(*at)}", end)
        found: list[Operation] = [("S", self.keys.meta, meta)]
        starts = [part for at, offset in new.items() for part in (place(*at), offset)]
        if starts:
            found += [("S", self.keys.base, starts), ("S", self.keys.fence, starts)]
        return found

    # --- applying verdicts

    def step(self, messages: Sequence[Message]) -> None:
        """Apply what is next among `messages`; drop what was applied before; hold what stands behind a hole."""
        if not messages:
            return
        self.taken += len(messages)
        run = []
        for message in messages:
            verdict = orjson.loads(message.value())
            if self.admission.admits(verdict):
                run.append(verdict)
            self.positions[message.partition()] = message.offset() + 1
        self.dropped += len(messages) - len(run)
        if self.admission.new_holes:
            holes = [f"{place(*at)}: {self.admission.held.get(at)}" for at in self.admission.new_holes]
            self.admission.new_holes.clear()
            self.repeats.request(self.admission.fences, "; ".join(holes))
        if self.admission.ranges() or self.admission.holds_changed:
            self.commit(run)

    def commit(self, run: Sequence[dict[str, Any]]) -> None:
        """One compare-and-set for a run of admitted verdicts and everything that goes with it."""
        self.load(run)
        effects = self.fold.fold(run, self.known.found)
        if effects.conflicts:
            self.failpoints.hit("materializer.before_dead_letters")
            self.letters.write((self.prober.record(*at) for at in effects.conflicts), CONFLICT)
            self.failpoints.hit("materializer.after_dead_letters")
        for at, count in self.admission.empty.items():
            effects.counts[f"{place(*at)}/empty"] += count
        newest = merged(self.newest, effects.newest)
        changes = operations(effects, self.plan, self.keys, newest) + self.bookkeeping(effects, newest)
        self.failpoints.hit("materializer.before_commit")
        self.store.commit(self.epoch, self.admission.ranges(), changes)
        self.failpoints.hit("materializer.after_commit")
        self.newest, self.kafka_time = newest, max(self.kafka_time, effects.kafka_time)
        self.dimensions_version += bool(effects.dimensions)
        self.known.found.update(effects.places)
        self.known.forget_oldest()
        self.admission.settle()
        self.applied += len(run)

    def load(self, run: Sequence[dict[str, Any]]) -> None:
        """Make known what the run depends on."""
        known = self.known.found
        needed = {where for verdict in run for where in self.fold.places(verdict)}
        missing = [where for where in needed if where not in known]
        for where, value in zip(missing, self.store.fetch(missing), strict=True):
            known[where] = None if value is None else unpack(where, value)

    def bookkeeping(self, effects: Effects, newest: dict[str, int]) -> list[Operation]:
        """Positions, newest times, holds."""
        meta: list[Any] = ["kafka_time", max(self.kafka_time, effects.kafka_time)]
        for topic in ("", *effects.newest) if effects.newest else ():
            meta += (f"newest:{topic}" if topic else "newest", newest[topic])
        if effects.dimensions:
            meta += ("dims", self.dimensions_version + 1)
        found: list[Operation] = [("S", self.keys.meta, meta)]
        found.append(("S", self.keys.judged, [part for pair in self.positions.items() for part in pair]))
        held = {place(*at): reason for at, reason in self.admission.held.items()}
        if self.admission.holds_changed:
            released = [place(*at) for at in self.admission.released]
            found += [("D", self.keys.held, released)] if released else []
            found += [("S", self.keys.held, [p for pair in held.items() for p in pair])] if held else []
        return found

    def probe(self, topic: str, partition: int, offset: int) -> int | None:
        """Offset of the next committed record at or behind `offset`, None if there is none."""
        found = self.prober.next_record(topic, partition, offset)
        return None if found is None else found.offset()

    # --- once a second

    def tick(self) -> None:
        """Look at what does not move: empty tails, holes at the end, a live job that needs to be asked again."""
        self.watch.verdict()
        self.store.check(self.epoch, self.admission.fences)
        ends = self.watch.ends
        self.admission.cross_tails(ends)
        if self.admission.ranges():
            self.commit([])
        idle, self.taken_before = self.taken == self.taken_before, self.taken
        stuck = self.admission.stuck(ends, idle=idle)
        if stuck:
            self.repeats.remind(
                self.admission.fences, f"no verdict for {', '.join(place(*at) for at in stuck)}"
            )
        else:
            self.repeats.settled()
        self.end_rebuild()
        lag = sum(max(0, end - self.admission.fences.get(at, 0)) for at, end in ends.items())
        write_status(
            self.settings.dataflow_status_file,
            "running",
            generation=self.generation.name,
            epoch=self.epoch,
            claims=self.claims,
            applied=self.applied,
            dropped=self.dropped,
            lag=lag,
            held={place(*at): reason for at, reason in self.admission.held.items()},
        )

    def end_rebuild(self) -> None:
        """Forget the targets of a rebuild that has reached them."""
        if self.targets and all(self.admission.fences.get(at, 0) >= end for at, end in self.targets.items()):
            fields = [f"rebuild:{place(*at)}" for at in self.targets]
            self.store.commit(self.epoch, {}, [("D", self.keys.meta, fields)])
            self.targets = {}


def merged(newest: Mapping[str, int], of_run: Mapping[str, int]) -> dict[str, int]:
    """The newest event times by topic, and under "" of all."""
    found = {**newest, **{topic: max(at, newest.get(topic, 0)) for topic, at in of_run.items()}}
    found[""] = max([newest.get("", 0), *of_run.values()])
    return found


def unpack(where: Place, value: bytes) -> Latest | Facts | bool:
    """What Redis holds at a place: an entity, what a key's facts add up to, or that a fact has been counted."""
    key, field = where
    if ":k:" not in key:
        return Latest.unpack(value)
    return Facts.unpack(value) if field == SUMMARY else True

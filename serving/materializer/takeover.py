"""Takes over what Redis holds, and begins what is not there: with what the lake has, or with nothing.

Reads Redis, the bounds of source and judged topic, the lake. Writes Redis, dead letters, requests to the live job.
"""

import time
from dataclasses import dataclass, replace

from infra.failpoints import Failpoints
from infra.generation import source_bounds
from infra.generations import Generation
from infra.kafka import Offsets
from infra.settings import Settings
from infra.status import write_status
from serving.fold.fold import Fold
from serving.materializer.archived import Archived
from serving.materializer.dead_letters import DeadLetters
from serving.materializer.filling import Filling
from serving.materializer.founding import Founding, found
from serving.materializer.judged import JudgedReader
from serving.materializer.live_job import LiveJob
from serving.materializer.prober import Prober
from serving.materializer.watch import Watch
from serving.store.store import Claimed, Store
from streams.archive import plot
from streams.throttle import Throttle

TICK = 1.0
SETTLING = 10.0
# Of what is in the topics: the lake is faster with it than verdicts are. So few records verdicts bring in seconds.
NEARLY_ALL, FEW = 0.95, 5_000
SKEW_MS = 60_000  # by which the clocks of two brokers may differ


@dataclass(frozen=True)
class Taken:
    """What a claim has found and begun; `ends` are those of the source topics, `filled_from` the lake's manifest."""

    claimed: Claimed
    founding: Founding
    ends: Offsets
    filled_from: int | None


class Takeover:
    """The beginning of each claim of one process."""

    def __init__(
        self,
        settings: Settings,
        generation: Generation,
        fold: Fold,
        store: Store,
        letters: DeadLetters,
        judged: JudgedReader,
        prober: Prober,
        watch: Watch,
        live_job: LiveJob,
        failpoints: Failpoints,
    ) -> None:
        self._settings, self._generation, self._store = settings, generation, store
        self._judged, self._prober, self._watch = judged, prober, watch
        self._live_job, self._failpoints = live_job, failpoints
        self._definition = fold.plan.digest(settings.max_event_bytes)
        self._throttle = Throttle(settings, lambda: watch.is_live)
        self._filling = Filling(settings, generation, fold, store, letters, failpoints, self._paced)
        self._rows = 0  # that were filled in

    def wait_for_lake(self) -> None:
        """Until the lake has enough to begin with, where that comes first and there is nothing else to begin with."""
        while self._generation.lake_first and not self._watch.is_live and not self._store.has_begun():
            self._watch.verdict()
            first, ends = self._judged.bounds()
            manifest = self._filling.manifest()
            if first != ends or self._filling.has_given_up:
                return
            if manifest and self._filling.is_worth(manifest, self._watch.ends, NEARLY_ALL, FEW):
                return
            self._tell(waiting_for="lake")
            self._live_job.hurry_lake()
            time.sleep(TICK)

    def take(self) -> Taken:
        """Become the one writer, and write what has to stand in Redis before the first run.

        Whatever can be refused is before anything is filled in. Raises what `found` raises, Unavailable, Lost.
        """
        claimed = self._store.claim()
        self._failpoints.hit("materializer.after_claim")
        manifest = None
        if claimed.spec is None:
            # Nothing that is there counts.
            claimed = replace(claimed, base={}, fences={}, judged={}, held={})
            manifest = self._filling.manifest()
        judged = self._judged.bounds()
        first, ends = self._bounds(claimed.fences | dict(manifest.until if manifest else {}))
        starts = {at: self._generation.start(*at) for at in self._generation.partitions()}
        filled: Offsets = {}
        if manifest is not None and self._filling.is_worth(manifest, ends):
            filled = {at: manifest.until.get(at, start) for at, start in starts.items()}
            positions = self._judged_since(filled, first, ends)
            claimed = replace(claimed, judged=dict(judged[1]) if positions is None else positions)
        course = plot(self._settings, self._generation, starts | filled | claimed.fences, first)
        keys = self._store.keys
        founding = found(claimed, self._definition, starts, ends, judged, keys, course.lost, filled)
        self._prober.archived = Archived(course)
        if filled:
            done = self._filling.fill(claimed, manifest)
            claimed = replace(claimed, newest=done.newest, kafka_time=manifest.kafka_time)
            read = [part for pair in claimed.judged.items() for part in pair]
            positions = [("S", keys.judged, read)] if read else []
            done.pieces.end([*founding.operations, *done.last, *positions])
        elif claimed.filling:
            self._filling.begin(claimed).end(founding.operations)
        else:
            self._store.commit(claimed.epoch, {}, founding.operations)
        self._failpoints.hit("materializer.after_founding")
        if self._generation.lake_first and judged[0] == judged[1]:
            self._live_job.request(founding.fences, "its verdicts begin where the lake has come to")
        return Taken(claimed, founding, ends, manifest.number if filled else None)

    def _bounds(self, fences: Offsets) -> tuple[Offsets, Offsets]:
        """Where the source topics begin and end. A new leader may not know at once what was committed before."""
        deadline = time.monotonic() + SETTLING
        while True:
            first, ends = source_bounds(self._settings, self._generation)
            if (
                all(fence <= ends.get(at, fence) for at, fence in fences.items())
                or time.monotonic() > deadline
            ):
                return first, ends
            time.sleep(0.5)

    def _judged_since(self, filled: Offsets, first: Offsets, ends: Offsets) -> dict[int, int] | None:
        """From where to read the judged topic for the verdicts from `filled` on; None: there are none yet.

        No verdict is older than its record. Where one is missing all the same, that shows as a hole.
        """
        if any(offset < first[at] for at, offset in filled.items()):
            return {}  # the broker does not say how old those are
        times = [
            self._prober.time_of_next(*at, offset, ends[at])
            for at, offset in filled.items()
            if offset < ends[at]
        ]
        oldest = min((each for each in times if each is not None), default=None)
        return None if oldest is None else self._judged.positions_at(oldest - SKEW_MS)

    def _paced(self, rows: int) -> None:
        """So many rows were filled in: waits until more may be, and looks around."""
        self._rows += rows
        self._throttle.took(rows)
        self._throttle.wait(lambda: False)
        self._watch.verdict()
        self._tell(filling=self._rows)

    def _tell(self, **details: object) -> None:
        starts = {at: self._generation.start(*at) for at in self._watch.ends}
        lag = sum(end - starts[at] for at, end in self._watch.ends.items())
        write_status(
            self._settings.dataflow_status_file,
            "running",
            generation=self._generation.name,
            lag=lag,
            **details,
        )

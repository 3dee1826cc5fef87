"""Batches of the lake, one after the other: what is read and judged is folded, written, and told in a manifest.

The next batch is read while the one before it is written. Reads the source topics or bronze (`streams.lake.reading`);
writes the lake (`streams.lake.store`).
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import polars as pl

from infra.generations import Generation
from infra.kafka import Offsets
from infra.settings import Settings
from schemas.contract import CONTRACTS
from streams.lake.batch import Batch
from streams.lake.code import digest
from streams.lake.known import Known
from streams.lake.manifest import Manifest
from streams.lake.reading import Reading, Schemas, ahead, undecided
from streams.lake.size import Size
from streams.lake.stopwatch import Stopwatch
from streams.lake.store import LakeStore
from streams.lake.upkeep import Upkeep
from streams.stop import StopRequest
from streams.throttle import Throttle
from streams.world import World

log = logging.getLogger(__name__)


class Batches:
    """Of one generation, from the newest manifest on. `reading` has to be given before any is made."""

    reading: Reading

    def __init__(
        self,
        settings: Settings,
        generation: Generation,
        world: World,
        store: LakeStore,
        manifest: Manifest,
        upkeep: Upkeep,
        stop: StopRequest,
        size: Size,
    ) -> None:
        self.manifest = manifest
        self.records = 0  # of this process
        # Seconds by what they went into. The read of a batch is beside the others of the one before it.
        self.spent = dict.fromkeys(("read", "fold", "write", "upkeep"), 0.0)
        self._generation, self._world, self._store = generation, world, store
        self._upkeep, self._stop, self._size = upkeep, stop, size
        self._throttle = Throttle(settings, world.is_live)
        self._most = settings.lake_batch_records
        self._tables = Known(store, manifest).tables(settings.shop_timezone)
        self._code = digest()

    @property
    def most(self) -> int:
        """Records of one batch."""
        return min(self._size.now, self.planned)

    @property
    def planned(self) -> int:
        """The same where each could be read: what a query is planned by, which lives longer than a bad range."""
        return min(self._most, self._throttle.step) if self._throttle.holds else self._most

    def follow(self) -> None:
        """All that there was is taken in: nothing is held up any more."""
        self._throttle.let_go()

    def since(self) -> Offsets:
        """Where the next one begins."""
        return self.manifest.since(self._generation)

    def make(self, ends: Sequence[Offsets]) -> Iterator[int]:
        """Make one from each of these offsets to the next; gives the number of each when it is written."""
        for until, (judged, schemas) in zip(ends[1:], ahead(self._judged, pairwise(ends)), strict=True):
            before = self.records
            self._write(until, judged, schemas)
            yield self.manifest.number
            self._throttle.took(self.records - before)
            self._throttle.wait(lambda: self._stop.asked)

    def _write(self, until: Offsets, judged: Mapping[str, pl.DataFrame], schemas: Schemas) -> None:
        """Fold and write what `judged` gave for the records up to before `until`."""
        clock = Stopwatch()
        batch = self._tables.fold(self.manifest.number + 1, judged)
        clock.lap("fold")
        coming = self._next_manifest(until, judged, schemas, batch)
        self.manifest = self._store.write(coming, batch.rows, lambda: self._tables.take_in(batch))
        clock.lap("write")
        if self._upkeep.due(self.manifest.number):
            self.manifest = self._store.upkeep(self._upkeep, self.manifest)
            clock.lap("upkeep")
        records = sum(frame.height for frame in judged.values())
        self.records += records
        for name, seconds in clock.laps.items():
            self.spent[name] += seconds
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in clock.laps.items())
        log.info("batch %d: %d records, %s", self.manifest.number, records, told)

    def _judged(self, span: tuple[Offsets, Offsets]) -> tuple[dict[str, pl.DataFrame], Schemas]:
        """The judged records from an offset vector to before another, and the schemas that were known.

        One whose schema is unknown is judged by what the registry lists now.
        """
        (since, until), began = span, time.monotonic()
        records = sum(until[place] - since[place] for place in until)
        with self._size.tried(records, lambda: self._stop.asked):
            judged = self.reading.read(since, until)
            topics = undecided(judged)
            if topics and (schemas := self._world.schemas()) != self.reading.schemas:
                self.reading.schemas = schemas
                only = {at: offset if at[0] in topics else since[at] for at, offset in until.items()}
                judged |= self.reading.read(since, only)
        self.spent["read"] += time.monotonic() - began
        return judged, self.reading.schemas

    def _next_manifest(
        self, until: Offsets, judged: Mapping[str, pl.DataFrame], schemas: Schemas, batch: Batch
    ) -> Manifest:
        before = self.manifest
        total = dict(before.counts)
        for name, number in batch.counts.items():
            total[name] = total.get(name, 0) + number
        times = [frame["kafka_time"].max() for frame in judged.values() if frame.height]
        newest = {topic: max(at, before.newest.get(topic, 0)) for topic, at in batch.newest.items()}
        return replace(
            before,
            number=before.number + 1,
            until=until,
            counts=total,
            schemas={topic: tuple(s.schema_id for s in schemas[topic]) for topic in CONTRACTS},
            code=self._code,
            newest={**before.newest, **newest},
            kafka_time=max([before.kafka_time, *times]),
        )

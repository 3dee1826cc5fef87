"""Verify a generation: the lake's tables at a manifest, and the live numbers as they were told, by another computation.

The oracle goes through bronze once, stopping at the offsets of each answer that was read from the live side, and at the
manifest's. Where the lake was told to end a batch at the last answer's offsets, gold and live are of the same ones.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

import duckdb

from infra.generation import current_generation
from infra.generations import Generation
from infra.kafka import Offsets
from infra.registry import RegisteredSchema, TopicSchemas
from infra.settings import Settings
from replay.scratch import scratch
from replay.verify.barrier import Barrier
from replay.verify.bounds import SCRATCH, bounds, told
from replay.verify.bronze import Completeness
from replay.verify.compare import Difference, together
from replay.verify.live import LIVE_NUMBERS, Buckets, LiveNumbers, Seen, check_live, everything, some_of
from replay.verify.oracle import Oracle
from replay.verify.originals import Originals
from replay.verify.tables import WHOLE, check_tables
from replay.verify.touched import all_buckets, left_out_of, touched_buckets
from schemas.contract import CONTRACTS
from schemas.errors import DataflowError, GenerationError, Transient, Unavailable
from schemas.tables import bronze
from serving.lake.reader import Lake, NoLake
from serving.lake.views import connect
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root
from streams.plain_judge import PlainJudge

PATIENCE = 60.0  # seconds for the lake to reach a barrier


@dataclass(frozen=True)
class Verdict:
    """What came of it. `live` says why the live numbers were not compared, or not all of them; None: all were.

    `answers` were read from the live side, of which `compared` were compared. `at_barrier`: the lake's tables and the
    last live answers are of the same offsets. `untold` offsets are not in bronze and no longer at the broker, so nobody
    can say whether there was a record.
    """

    manifest: Manifest
    differences: tuple[Difference, ...]
    live: str | None = None
    at_barrier: bool = False
    answers: int = 0
    compared: int = 0
    untold: int = 0

    @property
    def exact(self) -> bool:
        return all(difference.equal for difference in self.differences)

    def then(self, later: "Verdict") -> "Verdict":
        """This one and what came of a later look, at other parts and once more at what is compared whole each time."""
        again = {each.table for each in self.differences if _is_whole(each.table)}
        wrong = {each.table for each in later.differences if not each.equal}
        first = [each for each in self.differences if each.table not in again & wrong]
        # Rows of the lake that it compares once more are not more rows.
        counted = {each.table for each in first if not each.table.startswith(LIVE_NUMBERS)}
        then = [
            replace(each, rows=0, expected=0) if each.table in counted else each
            for each in later.differences
            if each.table not in again - wrong
        ]
        return replace(
            later,
            differences=tuple(_merged([*first, *then])),
            live=self.live or later.live,
            answers=self.answers + later.answers,
            compared=self.compared + later.compared,
            untold=self.untold + later.untold,
        )


class Verifier:
    """The oracle of one generation, and what it is held against; a context manager."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self.settings, self.generation = settings, generation
        self.lake = Lake(lake_root(settings, generation.name))
        self._schemas = TopicSchemas(settings)
        self._barrier = Barrier(settings, generation.name, self.lake)
        self._closing = ExitStack()
        spill = self._closing.enter_context(scratch(settings, SCRATCH))
        own, self._reading = (bounds(spill / what) for what in ("oracle", "bronze"))
        self._database = duckdb.connect(config=own)
        self.oracle = Oracle(settings.shop_timezone, self._database)
        self._completeness = Completeness(settings, generation, self._database)
        self._originals = Originals(settings, generation)
        self.verified: Manifest | None = None  # everything up to it has been compared
        self.touched: Buckets = {}  # of the live numbers: what the last records that were compared changed
        self.unasked: Buckets = {}  # of the live numbers: what should be there and no answer was about
        self._judge: tuple[Mapping[str, tuple[int, ...]], PlainJudge] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()
        self._schemas.close()
        self._closing.close()

    def check(
        self,
        seen: Sequence[Seen] = (),
        *,
        whole: bool = True,
        patience: float = PATIENCE,
        live: str | None = None,
        given_up: Callable[[], bool] = lambda: False,
        every_byte: bool = False,
    ) -> Verdict:
        """Compare the lake, and the answers in `seen`, which are in the order in which they were given.

        `whole`: every row, else what has changed since the last time. `live` says why nothing was seen. `every_byte`:
        of all records in bronze, not of some. Raises NoLake, Unavailable.
        """
        wanted = seen[-1].offsets if seen else None
        manifest, at_barrier = (
            (self.lake.newest(), False) if wanted is None else self._barrier.reach(wanted, patience, given_up)
        )
        if self._is_past(manifest):
            # A barrier of offsets that the oracle is past: it does not go back.
            manifest, at_barrier = self.lake.newest(), False
            if self._is_past(manifest):
                self.verified = None  # its batches have other numbers from now on
                raise Unavailable(
                    f"expected a lake that goes on from what was verified before, and its newest manifest "
                    f"({manifest.number}) is behind that: it was put back, and is compared when it has caught up"
                )
        since = None if whole else self.verified
        found: list[Difference] = []
        eras = self.lake.eras(self.verified.number if self.verified else 0, manifest)
        raw = [bronze(contract) for contract in CONTRACTS.values()]
        with connect(self.lake.root, manifest, raw, self._reading) as lake:
            left_out: Counter[str] = Counter()
            for each in seen:
                if (why := self._out_of_reach(each.offsets, manifest)) is not None:
                    left_out[why] += 1
                    continue
                self._advance(lake, each.offsets, eras, given_up)
                found.append(check_live(self.oracle, each))
            if left_out:
                reasons = "; ".join(f"{number} {why}" for why, number in left_out.items())
                live = f"{left_out.total()} of {len(seen)} answers not compared: {reasons}"
            # Here the oracle is where the last answer was: what it has is no newer than that.
            unasked: Buckets = {}
            if whole and found:
                unasked = left_out_of(all_buckets(self.oracle), (each.query for each in seen))
            self._advance(lake, manifest.until, eras, given_up)
            originals = (
                self._originals.check(lake, manifest, all_of_them=every_byte, given_up=given_up)
                if whole
                else []
            )
        complete = self._completeness.check(self.lake.root, manifest, since)
        differences = [
            *complete.differences,
            *originals,
            *check_tables(self.oracle, self.lake.root, manifest, since, given_up),
            *_merged(found),
        ]
        touched = touched_buckets(self.oracle)
        self.oracle.forget_changes()
        # Last: what could not be told to the end is compared again.
        self.verified, self.touched, self.unasked = manifest, touched, unasked
        compared = len(seen) - left_out.total()
        return Verdict(manifest, tuple(differences), live, at_barrier, len(seen), compared, complete.untold)

    def and_the_rest(
        self, verdict: Verdict, patience: float, given_up: Callable[[], bool] = lambda: False
    ) -> Verdict:
        """The `verdict` on everything, and what comes of asking for what the live side did not say that it has."""
        if not self.unasked:
            return verdict
        first = self.touched
        try:
            with told(self.settings):
                seen, why = asyncio.run(some_of(LiveNumbers(self.settings, self.generation), self.unasked))
                later = self.check(seen, whole=False, patience=patience, live=why, given_up=given_up)
        except DataflowError as error:
            if not isinstance(error, Transient):
                raise
            # What was found before stands.
            return replace(verdict, live=verdict.live or str(error))
        for at, starts in first.items():
            self.touched.setdefault(at, set()).update(starts)
        return verdict.then(later)

    def _is_past(self, manifest: Manifest) -> bool:
        """Whether the oracle has records that the tables of a manifest lack."""
        return any(offset > manifest.until.get(at, 0) for at, offset in self.oracle.until.items())

    def _out_of_reach(self, offsets: Offsets, manifest: Manifest) -> str | None:
        """Why nothing can be computed at these offsets; None if it can."""
        if any(offset > manifest.until.get(at, 0) for at, offset in offsets.items()):
            return "beyond the lake, which did not come as far in time"
        if any(offset < self.oracle.until.get(at, 0) for at, offset in offsets.items()):
            return "behind what was verified before"
        return None

    def _advance(
        self,
        lake: duckdb.DuckDBPyConnection,
        until: Offsets,
        eras: Sequence[Manifest],
        given_up: Callable[[], bool],
    ) -> None:
        """Take the oracle to `until`, each record judged by the schemas that the lake knew when it took it in."""
        for era in eras:
            now = self.oracle.until
            step = {at: max(now.get(at, 0), min(end, era.until.get(at, 0))) for at, end in until.items()}
            if any(end > now.get(at, 0) for at, end in step.items()):
                self.oracle.advance(lake, step, self._judge_of(era), given_up)

    def _judge_of(self, manifest: Manifest) -> PlainJudge:
        """One that knows what the lake knew: what is registered since was unknown to it."""
        if self._judge is None or self._judge[0] != manifest.schemas:
            known: dict[str, list[RegisteredSchema]] = {
                topic: [s for s in self._schemas.of(topic) if s.schema_id in manifest.schemas.get(topic, ())]
                for topic in CONTRACTS
            }
            self._judge = dict(manifest.schemas), PlainJudge(known, self.settings.max_event_bytes)
        return self._judge[1]


def verify(
    settings: Settings, *, with_live: bool = True, patience: float = PATIENCE, every_byte: bool = False
) -> Verdict:
    """Everything, once; the bytes of all records that the topics still have (`every_byte`), or of some of them.

    Raises GenerationError if there is no lake, Unavailable if a service does not answer.
    """
    generation = current_generation(settings)
    with told(settings), Verifier(settings, generation) as verifier:
        try:
            seen, why = [], "not asked for"
            if with_live:
                seen, why = asyncio.run(everything(LiveNumbers(settings, generation)))
            verdict = verifier.check(seen, patience=patience, live=why, every_byte=every_byte)
            return verifier.and_the_rest(verdict, patience)
        except NoLake:
            raise GenerationError(
                f"expected a lake at {verifier.lake.root} and found none: `dataflow up` makes it, "
                "and it is there once its first batch has ended"
            ) from None


def newest_manifest(settings: Settings, generation: str) -> Manifest | None:
    """What the lake of a generation holds; None if there is none."""
    try:
        return Lake(lake_root(settings, generation)).newest()
    except NoLake:
        return None


def _is_whole(name: str) -> bool:
    """Whether it is compared as a whole at each look, by its name."""
    return name in WHOLE or (name.startswith(LIVE_NUMBERS) and name.split()[2] == "all")


def _merged(found: Sequence[Difference]) -> list[Difference]:
    """One for each name: a metric's buckets are read in several calls."""
    merged: dict[str, Difference] = {}
    for each in found:
        if (one := merged.get(each.table)) is None or one.columns != each.columns:
            merged[each.table if one is None else f"{each.table} by {each.columns[1]}"] = each
            continue
        merged[each.table] = together(one, each)
    return [replace(each, table=name) for name, each in merged.items()]

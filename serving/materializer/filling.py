"""Fills an empty Redis out of the generation's own lake: what that has needs not be judged and folded once more.

The lake has one row for each entity, where the topics have all of its versions. The rows go through the same fold as
verdicts do, so whatever stands in Redis afterwards is what all verdicts would have left there. Reads the lake at one
manifest; writes Redis, in small commits of which nothing is shown before the last one, and dead letters. Whoever finds
it half-done removes it all and begins anew.
"""

import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import duckdb
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message
from deltalake.exceptions import DeltaError

from infra.failpoints import Failpoints
from infra.generations import Generation
from infra.kafka import Offsets
from infra.read_topic import read_topic
from infra.settings import Settings
from schemas.contract import CONTRACTS, Contract
from schemas.errors import Unavailable
from schemas.gold import RECORD_OUTCOMES
from schemas.tables import QUARANTINE
from serving.fold.fold import Effects, Fold
from serving.fold.plan import Cell
from serving.fold.state import SUMMARY
from serving.lake.latest import latest_rows
from serving.lake.reader import Lake, NoLake
from serving.lake.views import connect
from serving.materializer.dead_letters import DeadLetters, letter_of
from serving.materializer.operations import operations
from serving.materializer.writer import merged
from serving.store.keys import VERDICTS, parse_place, place
from serving.store.store import Argument, Claimed, Operation, Store
from streams.lake.code import definition
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root

RUN = 300  # rows, or sums, in one commit; a larger one blocks the server for everybody
CELLS = 200_000  # sums that are kept back, since rows that come later may add to them
LETTERS = 100  # that are written before they are waited for
LOOK_EVERY = 10_000  # dead letters that are there already
TRIES = 2  # a lake that cannot be read is done without
# This share of all records has to be in the lake: else to judge all of them again is not much slower.
WORTH = 0.5
FEWEST = 0.25  # of all: a few records are not most of them
MEMORY = "512MB"
OUTCOMES = VERDICTS[:-1]


class Pieces:
    """Pieces that are written one behind the other, each only where the one before it still stands.

    A Redis that was emptied meanwhile, or has come back older, or that somebody else fills, takes no further piece.
    """

    def __init__(self, store: Store, epoch: int, left: str) -> None:
        """`left` is how Redis was found: an empty text, or what whoever came not to the end has left."""
        self._store, self._epoch, self.left = store, epoch, left
        self._name, self._number = uuid.uuid4().hex, 0

    def write(self, changes: Iterable[Operation], rows: int = 0) -> None:
        """One more, with which `rows` of the lake are in. Raises Lost."""
        self._number += 1
        after = f"{self._name}:{self._number}:{rows}"
        self._store.fill(self._epoch, self.left, after, changes)
        self.left = after

    def end(self, changes: Iterable[Operation]) -> None:
        """The last one, with which all of them count. Raises Lost."""
        self._store.fill(self._epoch, self.left, "", changes)


@dataclass(frozen=True)
class Filled:
    """What was filled in: how to end it and what belongs into the last piece; the newest event times by topic."""

    pieces: Pieces
    newest: Mapping[str, int]
    last: list[Operation]


class Filling:
    """Fills the keys of one generation. `pace` is called with the number of rows of each piece."""

    def __init__(
        self,
        settings: Settings,
        generation: Generation,
        fold: Fold,
        store: Store,
        letters: DeadLetters,
        failpoints: Failpoints,
        pace: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._settings, self._generation, self._failpoints = settings, generation, failpoints
        self._fold, self._store, self._letters, self._pace = fold, store, letters, pace
        self._lake = Lake(lake_root(settings, generation.name))
        self._failures = 0
        self._rows_read = 0

    @property
    def has_given_up(self) -> bool:
        """What the lake has could not be filled in, again and again."""
        return self._failures >= TRIES

    def manifest(self) -> Manifest | None:
        """The newest that can be begun with; None if there is none, or none of these topics and declarations."""
        if self.has_given_up:
            return None
        try:
            found = self._lake.newest()
        except NoLake:
            return None
        except (DeltaError, OSError) as error:
            print(f"the lake cannot be read: {error}", flush=True)
            return None
        topics = {topic: identity.topic_id for topic, identity in self._generation.topics.items()}
        of_this = found.generation == self._generation.name and found.topics == topics
        by_this = found.definition == definition(self._settings) and RECORD_OUTCOMES.name in found.tables
        return found if found.number and of_this and by_this else None

    def is_worth(self, manifest: Manifest, ends: Offsets, share: float = WORTH, few: int = 0) -> bool:
        """Whether it has at least a share of what the topics hold, and nothing that they do not.

        Or all but a `few` records, if that is most: a lake is always some seconds behind topics that grow.
        """
        first = {at: self._generation.start(*at) for at in ends}
        until = {at: manifest.until.get(at, first[at]) for at in ends}
        if any(offset > ends[at] for at, offset in until.items()):
            return False
        records = sum(ends.values()) - sum(first.values())
        left = sum(ends.values()) - sum(until.values())
        return left <= max((1 - share) * records, min(few, FEWEST * records))

    def fill(self, claimed: Claimed, manifest: Manifest) -> "Filled":
        """Write all that may come before the last piece. Raises Lost, and Unavailable if lake or broker fail."""
        pieces = self.begin(claimed)
        self._failpoints.hit("materializer.before_filling")
        newest = merged({}, manifest.newest) if manifest.newest else {"": 0}
        scratch = self._settings.state_dir / "filling" / self._generation.name
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            with connect(self._lake.root, manifest, [RECORD_OUTCOMES, QUARANTINE]) as lake:
                lake.execute(f"SET memory_limit = '{MEMORY}'")
                lake.execute("SET threads = 1")
                lake.execute(f"SET temp_directory = '{scratch}'")
                self._write_letters(lake)
                self._failpoints.hit("materializer.after_filled_letters")
                self._rows_read = 0
                for effects in self._effects(lake, manifest):
                    plan, keys = self._fold.plan, self._store.keys
                    changes = operations(effects, plan, keys, newest, manifest.kafka_time)
                    pieces.write(changes, self._rows_read)
                    self._failpoints.hit("materializer.after_filled_run")
        except (DeltaError, duckdb.Error, OSError) as error:
            self._failures += 1
            raise Unavailable(f"the lake could not be read at manifest {manifest.number}: {error}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Filled(pieces, newest, self._last(manifest, newest))

    def begin(self, claimed: Claimed) -> "Pieces":
        """Nothing is there: what somebody has left, too, is removed."""
        pieces = Pieces(self._store, claimed.epoch, claimed.filling)
        pieces.write([])
        self._pace(0)
        self._store.clear(claimed.epoch, pieces.left, lambda: self._pace(0))
        return pieces

    def _effects(self, lake: duckdb.DuckDBPyConnection, manifest: Manifest) -> Iterator[Effects]:
        """What to write, in pieces: entities and facts as they come, and what they add up to when that is much."""
        cells: defaultdict[Cell, int] = defaultdict(int)
        for effects in self._rows(lake, manifest):
            for cell, amount in effects.cells.items():
                cells[cell] += amount
            yield replace(effects, cells=defaultdict(int))
            if len(cells) > CELLS:
                yield from _in_pieces(cells)
                cells.clear()
        yield from _in_pieces(cells)

    def _rows(self, lake: duckdb.DuckDBPyConnection, manifest: Manifest) -> Iterator[Effects]:
        for contract in CONTRACTS.values():
            of = self._changes if contract.is_change else self._facts
            yield from of(lake, manifest, contract)
        rows = lake.execute(
            f"SELECT topic, epoch_us(minute) // 1000000, {', '.join(OUTCOMES)} FROM {RECORD_OUTCOMES.name}"
        )
        while chunk := rows.fetchmany(RUN):
            effects = Effects()
            for topic, minute, *numbers in chunk:
                for outcome, number in zip(OUTCOMES, numbers, strict=True):
                    if number:
                        self._fold.count_minute(topic, minute, outcome, number, effects)
            yield effects

    def _changes(
        self, lake: duckdb.DuckDBPyConnection, manifest: Manifest, contract: Contract
    ) -> Iterator[Effects]:
        plan = self._fold.plan.topics[contract.topic]
        for rows in latest_rows(lake, self._lake.root, manifest, contract, self._columns(contract), RUN):
            effects = Effects()
            for row in rows:
                verdict = {"p": row.partition, "o": row.offset, "h": row.content}
                self._fold.change(plan, row.event, verdict, {}, effects)
            self._rows_read += len(rows)
            yield effects
            self._pace(len(rows))

    def _facts(
        self, lake: duckdb.DuckDBPyConnection, manifest: Manifest, contract: Contract
    ) -> Iterator[Effects]:
        plan, keys = self._fold.plan.topics[contract.topic], self._store.keys
        known: Mapping[Any, Any] = {}
        for rows in latest_rows(lake, self._lake.root, manifest, contract, self._columns(contract), RUN):
            effects = Effects()
            for row in rows:
                self._fold.fact(plan, row.event, {}, known, effects)
            # What is counted within a window of time is cut off where that begins.
            effects.newest = {contract.topic: manifest.newest.get(contract.topic, 0)}
            # The last key may go on in the next run.
            summary = keys.facts(contract.topic, rows[-1].event[contract.key]), SUMMARY
            found = effects.places.get(summary) or known.get(summary)
            known = {summary: found} if found else {}
            self._rows_read += len(rows)
            yield effects
            self._pace(len(rows))

    def _columns(self, contract: Contract) -> set[str]:
        """The fields of an event that the fold looks at."""
        plan = self._fold.plan.topics[contract.topic]
        found = {contract.entity_id, contract.key, *plan.columns}
        if contract.is_change:
            found |= {"version", "op", "event_id"}
        for funnel in plan.funnels:
            found |= {funnel.stage, funnel.at}
        for active in plan.actives:
            found |= {active.at, *active.keys.values()}
        return found

    def _last(self, manifest: Manifest, newest: Mapping[str, int]) -> list[Operation]:
        """What makes the rest count: the numbers of records, and how new they are."""
        keys, counts = self._store.keys, Counter(manifest.counts)
        told: Counter[tuple[str, int]] = Counter()
        for name, number in manifest.counts.items():
            told[parse_place(name.rpartition("/")[0])] += number
        for at, until in manifest.until.items():
            counts[f"{place(*at)}/empty"] += until - self._generation.start(*at) - told[at]
        meta: list[Argument] = ["kafka_time", manifest.kafka_time]
        for topic, at in newest.items():
            meta += (f"newest:{topic}" if topic else "newest", at)
        dimensions = {dimension.of for dimension in self._fold.plan.dimensions.values()}
        offsets = sorted((at, offset) for at, offset in manifest.until.items() if at[0] in dimensions)
        meta += ("dims", ",".join(f"{place(*at)}:{offset}" for at, offset in offsets))
        return [
            ("A", keys.counts, [part for name, n in counts.items() if n for part in (name, n)]),
            ("S", keys.meta, meta),
        ]

    def _write_letters(self, lake: duckdb.DuckDBPyConnection) -> None:
        """The quarantine's records, but for those that are among the dead letters already."""
        name, there = self._generation.dead_letter_topic(self._settings), set()
        for n, message in enumerate(read_topic(self._settings.kafka_bootstrap_servers, name)):
            there.add(message.key())
            if n % LOOK_EVERY == 0:
                self._pace(0)
        letters = (letter for letter in self._quarantined(lake) if letter.key() not in there)
        while chunk := list(islice(letters, LETTERS)):
            self._letters.write(chunk, [], "")
            self._pace(0)

    def _quarantined(self, lake: duckdb.DuckDBPyConnection) -> Iterable[Message]:
        rows = lake.execute(
            'SELECT topic, partition, "offset", epoch_us(kafka_time) // 1000, reasons, key, value, headers '
            f"FROM {QUARANTINE.name}"
        )
        for topic, partition, offset, at, reasons, key, value, headers in iter(rows.fetchone, None):
            record = Message(
                topic=topic,
                partition=partition,
                offset=offset,
                key=key,
                value=value,
                headers=[(each["key"], each["value"]) for each in headers or ()],
                timestamp=(TIMESTAMP_LOG_APPEND_TIME, at),
            )
            most = self._settings.max_event_bytes
            yield letter_of(record, topic, ",".join(reasons), self._generation.name, most)


def _in_pieces(cells: Mapping[Cell, int]) -> Iterator[Effects]:
    """Sums of one metric and time beside each other: what they add up to by hour and day is then written once."""
    ordered = iter(sorted(cells.items()))
    while piece := dict(islice(ordered, RUN)):
        effects = Effects()
        effects.cells.update(piece)
        yield effects

"""Silver and the counts again, from bronze, by plain Python and one record after the other.

Shares nothing with the code that fills the lake, or Redis, but the contracts: fastavro decodes, `PlainJudge` judges,
dictionaries decide, rows go into a DuckDB database of its own. Slow, and easy to see to be right. It can go on from
where it stands, so a verifier that runs all the time judges each record once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from infra.kafka import Offsets
from replay.verify.layout import BOTH, CALENDAR, Judged, create, dated, day_column, rows_of
from replay.verify.reading import check_not, in_order
from schemas.contract import CONTRACTS, Contract
from schemas.tables import VERSIONED, bronze, silver, versions
from serving.lake.views import quoted
from streams.lake.frames import plain_schema
from streams.plain_judge import PlainJudge

MINUTE = 60_000_000  # µs
REFUSED = pa.schema(
    {"topic": pa.string(), "partition": pa.int32(), "offset": pa.int64(), "reasons": pa.list_(pa.string())}
)
MINUTES = pa.schema(
    {"topic": pa.string(), "minute": pa.int64(), "outcome": pa.string(), "records": pa.int64()}
)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 times without a zone are UTC, as in the views


class Oracle:
    """What the topics mean up to `until`, in `database`; see `replay.verify.layout` for its tables."""

    def __init__(self, tz: str, database: duckdb.DuckDBPyConnection) -> None:
        self.database, self.zone = database, ZoneInfo(tz)
        self.until: Offsets = {}
        self.kafka_time = 0  # the broker's newest, µs
        self.counts: Counter[str] = Counter()  # records by topic/partition/outcome
        # Records by topic, minute of the broker's clock (s) and outcome that `_minutes` lacks.
        self._not_noted: Counter[tuple[str, int, str]] = Counter()
        self.records = 0
        # Topics of which a key has records in several partitions: see `replay.verify.moved`.
        self.moved: set[str] = set()
        self._years: set[int] = set()
        create(database)

    def advance(
        self,
        lake: duckdb.DuckDBPyConnection,
        until: Offsets,
        judge: PlainJudge,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take in the records from where it stands to before `until`, out of the bronze views of `lake`.

        If something goes wrong, it stands behind the last ones that were taken in, and can go on from there. Raises
        Unavailable when `given_up`.
        """
        for contract in CONTRACTS.values():
            take = self._changes if contract.is_change else self._facts
            ranges = {
                p: (self.until.get((topic, p), 0), end)
                for (topic, p), end in until.items()
                if topic == contract.topic
            }
            for chunk in in_order(lake, bronze(contract), ranges):
                with self._whole():
                    take(contract, list(self._accepted(contract, chunk, judge)))
                    self._note_minutes()
                    self.until |= {(contract.topic, p): offset + 1 for p, offset, *_ in chunk}
                check_not(given_up)
        self.until = {**self.until, **until}

    def forget_changes(self) -> None:
        """What is touched from now on counts as touched since now."""
        with self._whole():
            for topic in CONTRACTS:
                self.database.execute(f"DELETE FROM {BOTH}{topic}")
            self.database.execute("UPDATE _minutes SET recent = false WHERE recent")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All that is done in it stands or, if something goes wrong, nothing."""
        sets = set(self._years), set(self.moved)
        kept = dict(self.until), self.kafka_time, Counter(self.counts), self.records
        self.database.begin()
        try:
            yield
            self.database.commit()
        except BaseException:
            self.until, self.kafka_time, self.counts, self.records = kept
            self._years, self.moved = sets
            self._not_noted.clear()
            with suppress(duckdb.Error):
                self.database.rollback()
            raise

    # --- reading and judging

    def _accepted(self, contract: Contract, chunk: Sequence[tuple], judge: PlainJudge) -> Iterator[Judged]:
        """What the judge accepts, in source order; what it refuses is noted."""
        refused = []
        for partition, offset, kafka_time, key, value in chunk:
            reasons, event = judge.judge(contract.topic, key, value, kafka_time)
            if reasons:
                refused.append((contract.topic, partition, offset, list(reasons)))
                self._count(contract.topic, partition, kafka_time, "refused")
            else:
                yield Judged(partition, offset, kafka_time, event)
        self._refuse(refused)

    def _count(self, topic: str, partition: int, kafka_time: int, outcome: str) -> None:
        self.records += 1
        self.kafka_time = max(self.kafka_time, kafka_time)
        self.counts[f"{topic}/{partition}/{outcome}"] += 1
        self._not_noted[topic, kafka_time // MINUTE * 60, outcome] += 1

    def _note_minutes(self) -> None:
        rows = [(*minute, number) for minute, number in self._not_noted.items()]
        self._not_noted.clear()
        if rows:
            days = [self._day(EPOCH + timedelta(seconds=minute)) for _, minute, *_ in rows]
            with rows_of(self.database, MINUTES, rows, [("day", days)]):
                self.database.execute(
                    "INSERT INTO _minutes SELECT *, true FROM _chunk "
                    "ON CONFLICT DO UPDATE SET records = records + excluded.records, recent = true"
                )

    def _refuse(self, refused: Sequence[tuple]) -> None:
        if refused:
            with rows_of(self.database, REFUSED, refused, ()):
                self.database.execute("INSERT INTO _refused SELECT * FROM _chunk")

    # --- deciding

    def _changes(self, contract: Contract, events: Sequence[Judged]) -> None:
        """The latest version of each entity; what is no news is counted, what contradicts is refused."""
        topic, names = contract.topic, [column.name for column in silver(contract).columns]
        latest = self._latest(contract, {each.event[contract.entity_id] for each in events}, names)
        before = dict(latest)
        kept: dict[tuple[str, int], tuple] = {}
        refused = []
        for each in events:
            event = each.event
            row = dict(zip(names, _row(contract, each), strict=True))
            entity = event[contract.entity_id]
            known = latest.get(entity)
            if known is not None and known["_partition"] != each.partition:
                self.moved.add(topic)
            if known is None:
                outcome = "changed"
            elif event["version"] < known["version"]:
                outcome = "superseded"
            elif event["version"] == known["version"]:
                same = all(row[name] == known[name] for name in (*contract.row_fields, "op"))
                outcome = "repeat" if same else "refused"
            else:
                outcome = "repeat" if event["event_id"] == known["event_id"] else "changed"
            if outcome in ("changed", "superseded"):
                kept.setdefault((entity, event["version"]), tuple(row.values()))
                self._see(contract, row)
            if outcome == "changed":
                latest[entity] = row
            elif outcome == "refused":
                refused.append((topic, each.partition, each.offset, ["version_conflict"]))
            self._count(topic, each.partition, each.kafka_time, outcome)
        self._refuse(refused)
        new = {entity: row for entity, row in latest.items() if row is not before.get(entity)}
        touched = [tuple(before[entity].values()) for entity in new if entity in before]
        self._note(contract, [*touched, *kept.values()])
        with self._registered(contract, [tuple(row.values()) for row in new.values()]):
            key = contract.entity_id
            self.database.execute(
                f"DELETE FROM _all_{topic} USING _chunk c WHERE _all_{topic}.{key} = c.{key}"
            )
            self.database.execute(f"INSERT INTO _all_{topic} SELECT * FROM _chunk")
        if topic in VERSIONED:
            self._versions(contract, list(kept.values()))

    def _facts(self, contract: Contract, events: Sequence[Judged]) -> None:
        """Each fact once."""
        key, entity = contract.key, contract.entity_id
        rows = [_row(contract, each) for each in events]
        with self._registered(contract, rows):
            found = self.database.execute(
                f"SELECT {key}, {entity}, _partition FROM {contract.topic} SEMI JOIN _chunk USING ({key}, {entity})"
            ).fetchall()
        seen = {(event, of): partition for event, of, partition in found}
        names, new = [column.name for column in silver(contract).columns], []
        for each, row in zip(events, rows, strict=True):
            identity = (each.event[key], each.event[entity])
            outcome = "repeat" if identity in seen else "changed"
            if seen.setdefault(identity, each.partition) != each.partition:
                self.moved.add(contract.topic)
            if outcome == "changed":
                new.append(row)
                self._see(contract, dict(zip(names, row, strict=True)))
            self._count(contract.topic, each.partition, each.kafka_time, outcome)
        self._note(contract, new)
        with self._registered(contract, new):
            self.database.execute(f"INSERT INTO {contract.topic} SELECT * FROM _chunk")

    # --- keeping

    def _latest(
        self, contract: Contract, entities: Iterable[str], names: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        ids = pa.table({contract.entity_id: pa.array(list(entities), pa.string())})
        self.database.register("_ids", ids)
        columns = ", ".join(map(quoted, names))
        rows = self.database.execute(
            f"SELECT {columns} FROM _all_{contract.topic} SEMI JOIN _ids USING ({contract.entity_id})"
        ).fetchall()
        self.database.unregister("_ids")
        at = names.index(contract.entity_id)
        return {row[at]: dict(zip(names, row, strict=True)) for row in rows}

    def _versions(self, contract: Contract, rows: Sequence[tuple]) -> None:
        """Those that are not kept yet: the first of each version stands."""
        table = versions(contract)
        with self._registered(contract, rows):
            columns = ", ".join(quoted(column.name) for column in table.columns)
            key = f"{contract.entity_id}, version"
            self.database.execute(
                f"INSERT INTO {table.name} SELECT {columns} FROM _chunk ANTI JOIN {table.name} USING ({key})"
            )

    def _note(self, contract: Contract, rows: Sequence[tuple]) -> None:
        """Rows that stood before or are new: what they add up to may have changed."""
        with self._registered(contract, rows):
            self.database.execute(f"INSERT INTO {BOTH}{contract.topic} SELECT * FROM _chunk")

    def _registered(self, contract: Contract, rows: Sequence[tuple]) -> AbstractContextManager[None]:
        names = [column.name for column in silver(contract).columns]
        days = []
        for name in dated(contract):
            at = names.index(name)
            days.append((day_column(name), [self._day(row[at]) for row in rows]))
        return rows_of(self.database, plain_schema(silver(contract)), rows, days)

    def _day(self, at: datetime | None) -> Any:
        """The day of a time (UTC, without a zone) in the shop's time zone."""
        return None if at is None else at.replace(tzinfo=ZoneInfo("UTC")).astimezone(self.zone).date()

    def _see(self, contract: Contract, row: Mapping[str, Any]) -> None:
        """Years in which something happened make the calendar."""
        if contract.topic in CALENDAR:
            year = self._day(row[CALENDAR[contract.topic]]).year
            if year not in self._years:
                self._years.add(year)
                self.database.execute("INSERT INTO _years VALUES (?)", [year])


def _row(contract: Contract, judged: Judged) -> tuple:
    """The columns of the silver table."""
    values = [
        EPOCH + timedelta(microseconds=judged.event[name])
        if field.type == "timestamp" and judged.event.get(name) is not None
        else judged.event.get(name)
        for name, field in contract.fields.items()
    ]
    return (*values, judged.partition, judged.offset)

"""Silver and the counts again, from bronze, by plain Python and one record after the other.

Shares nothing with the code that fills the lake but the contracts: fastavro decodes, `PlainJudge` judges, dictionaries
remember. Slow, and easy to see to be right.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import duckdb

from schemas.contract import CONTRACTS, Contract
from schemas.tables import bronze
from serving.lake.views import quoted
from streams.plain_judge import PlainJudge

READ_ROWS = 10_000
# Topics whose rows have a day, and the column that it is the day of.
DATED = {"orders": "order_date", "order_items": "created_at", "clickstream": "occurred_at"}
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 times without a zone are UTC, as in the views


@dataclass
class Recomputed:
    """What the topics mean up to the manifest's offsets."""

    rows: dict[str, list[tuple]] = field(
        default_factory=dict
    )  # silver table → rows in the order of its columns
    refused: list[tuple[str, int, int, tuple[str, ...]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # by topic/partition/outcome
    versions: dict[str, list[tuple]] = field(
        default_factory=dict
    )  # topic → every accepted version, without pii
    times: dict[str, set[datetime]] = field(default_factory=dict)  # topic → event times of what was accepted


def recompute(lake: duckdb.DuckDBPyConnection, judge: PlainJudge) -> Recomputed:
    """Everything anew out of the bronze views of `lake`."""
    result = Recomputed()
    for contract in CONTRACTS.values():
        (_changes if contract.is_change else _facts)(contract, _judged(lake, contract, judge, result), result)
    return result


def _judged(
    lake: duckdb.DuckDBPyConnection, contract: Contract, judge: PlainJudge, result: Recomputed
) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Partition, offset and event of each record that the judge accepts, in source order."""
    topic = contract.topic
    reader = lake.execute(
        f'SELECT partition, "offset", epoch_us(kafka_time), key, value FROM {quoted(bronze(contract).name)} '
        'ORDER BY partition, "offset"'
    )
    while rows := reader.fetchmany(READ_ROWS):
        for partition, offset, kafka_time, key, value in rows:
            reasons, event = judge.judge(topic, key, value, kafka_time)
            if reasons:
                result.refused.append((topic, partition, offset, tuple(reasons)))
                result.counts[f"{topic}/{partition}/refused"] += 1
            else:
                yield partition, offset, event


def _changes(contract: Contract, events: Iterator, result: Recomputed) -> None:
    """The latest version of each entity; what is no news is counted, what contradicts is refused."""
    topic, latest, versions = contract.topic, {}, {}
    times = result.times[topic] = set()
    for partition, offset, event in events:
        before = latest.get(event[contract.entity_id])
        if before is None:
            outcome = "changed"
        elif event["version"] < before[2]["version"]:
            outcome = "superseded"
        elif event["version"] == before[2]["version"]:
            same = all(event.get(name) == before[2].get(name) for name in (*contract.row_fields, "op"))
            outcome = "repeat" if same else "refused"
        else:
            outcome = "repeat" if event["event_id"] == before[2]["event_id"] else "changed"
        if outcome in ("changed", "superseded"):
            versions.setdefault((event[contract.entity_id], event["version"]), (partition, offset, event))
            times |= _times(contract, event)
        if outcome == "changed":
            latest[event[contract.entity_id]] = (partition, offset, event)
        elif outcome == "refused":
            result.refused.append((topic, partition, offset, ("version_conflict",)))
        result.counts[f"{topic}/{partition}/{outcome}"] += 1
    result.rows[topic] = [_row(contract, *found) for found in latest.values() if found[2]["op"] != "d"]
    result.versions[topic] = [_row(contract, *found, pii=False) for found in versions.values()]


def _facts(contract: Contract, events: Iterator, result: Recomputed) -> None:
    """Each fact once."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    rows = result.rows[contract.topic] = []
    times = result.times[contract.topic] = set()
    for partition, offset, event in events:
        ids = seen[event[contract.key]]
        new = event[contract.entity_id] not in ids
        if new:
            ids.add(event[contract.entity_id])
            rows.append(_row(contract, partition, offset, event))
            times |= _times(contract, event)
        result.counts[f"{contract.topic}/{partition}/{'changed' if new else 'repeat'}"] += 1


def _row(
    contract: Contract, partition: int, offset: int, event: Mapping[str, Any], pii: bool = True
) -> tuple:
    values = [
        _time(event[name]) if field.type == "timestamp" and event.get(name) is not None else event.get(name)
        for name, field in contract.fields.items()
        if pii or not field.pii
    ]
    return (*values, partition, offset)


def _times(contract: Contract, event: Mapping[str, Any]) -> set[datetime]:
    """When it happened, of what has a day."""
    column = DATED.get(contract.topic)
    return set() if column is None else {_time(event[column])}


def _time(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)

"""Judged records of a shop without Spark: the generator's events, judged by plain Python, as the reading gives them."""

from collections.abc import Iterable

import polars as pl

from dataflow.testing.plain_lake import judged_frame
from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS
from schemas.validate import micros
from streams.plain_judge import PlainJudge
from tests.sources.generator_kit import ALL_UP, ARRIVAL, CODEC, IDS, history

PARTITIONS = 2
KNOWN = {topic: [RegisteredSchema(IDS[topic], 1, c.avro_json)] for topic, c in CONTRACTS.items()}
MAX_BYTES = 262_144
FOREIGN_KEY_EVERY = 97  # a record that has not its own key: the generator makes none


def judged_history(count: int, seed: int) -> dict[str, pl.DataFrame]:
    """By topic, the first `count` records of a shop with all dials up."""
    judge, rows = PlainJudge(KNOWN, MAX_BYTES), {topic: [] for topic in CONTRACTS}
    offsets: dict[tuple[str, int], int] = {}
    arrival = micros(ARRIVAL)
    emissions, _ = history(ALL_UP, count, seed)
    for n, emission in enumerate(emissions):
        topic, key, value = emission.topic, emission.key, emission.value
        if key and n % FOREIGN_KEY_EVERY == 0:
            key = key[::-1]
        partition = sum(key or b"") % PARTITIONS
        offset = offsets.get((topic, partition), 0)
        offsets[topic, partition] = offset + 1
        reasons, event = judge.judge(topic, key, value, arrival)
        content = None if reasons else _content(topic, event)
        rows[topic].append((partition, offset, arrival, key, value, None, reasons, content, event))
    return {topic: judged_frame(topic, found) for topic, found in rows.items()}


def _content(topic: str, event: dict) -> int:
    contract = CONTRACTS[topic]
    names = (*contract.row_fields, "op") if contract.is_change else contract.row_fields
    return hash(tuple((name, event[name]) for name in names if event.get(name) is not None))


def judged_records(
    records: Iterable[tuple[str, bytes | None, bytes | None]], judge: PlainJudge, first: int = 0
) -> dict[str, pl.DataFrame]:
    """Topic, key and value of records, judged: in partition 0 of each topic, from offset `first` on."""
    rows, arrival = {topic: [] for topic in CONTRACTS}, micros(ARRIVAL)
    for topic, key, value in records:
        reasons, event = judge.judge(topic, key, value, arrival)
        content = None if reasons else _content(topic, event)
        offset = first + len(rows[topic])
        rows[topic].append((0, offset, arrival, key, value, None, reasons, content, event))
    return {topic: judged_frame(topic, found) for topic, found in rows.items()}


def judged_events(records: list[tuple[str, dict]]) -> dict[str, pl.DataFrame]:
    """The same for events that a test made up; all of them have to be good ones."""
    judge, rows = PlainJudge(KNOWN, MAX_BYTES), {topic: [] for topic in CONTRACTS}
    arrival = micros(ARRIVAL)
    for topic, event in records:
        key, value = CODEC.encode(topic, event)
        reasons, decoded = judge.judge(topic, key, value, arrival)
        assert not reasons, (topic, reasons, event)
        partition = sum(key) % PARTITIONS
        offset = sum(row[0] == partition for row in rows[topic])
        content = _content(topic, decoded)
        rows[topic].append((partition, offset, arrival, key, value, None, [], content, decoded))
    return {topic: judged_frame(topic, found) for topic, found in rows.items()}

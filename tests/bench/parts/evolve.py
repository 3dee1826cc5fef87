"""From registering another version of a schema until its records are judged and counted, and what waits meanwhile."""

import io
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any, NamedTuple

import fastavro

from infra.registry import Registry, schema_ids, subject
from schemas.contract import CONTRACTS
from sources.codec import HEADER, MAGIC
from sources.generator import Dials, ShopSimulator
from sources.producer import EventProducer
from tests.bench.figures import Judged, Produced, Sightings, percentile, waits
from tests.bench.load import prepare, produce
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage
from tests.bench.watching import judged, rest
from tests.bench.workers import BenchError, Worker, wait_until

TOPIC = "clickstream"
RATE = 1_000
RECORDS = 50  # of each new version: enough to be in every partition
LINGER_MS = 1
SEED = 71
QUIET = 4.0  # seconds between a version whose records are counted and the next one
SETTLE_SECONDS = 120
AT_ONCE_SECONDS = 0.5

METHOD = f"""A version of `{TOPIC}` with one more field is registered, and at once {RECORDS} records are written
with it, spread over the partitions; the next version follows {QUIET:.0f} seconds after those are counted and what had
piled up meanwhile is, too. Once without other load, and once beside the demo mix at {RATE:,} records/s with the old
schema. A record is *judged* with its first verdict other than undecided, and *counted* when a REST client that asks
all the time has seen an answer that covers it: the last of the {RECORDS}, from registering on. The *longest wait* is
that of any record, those of the load too, from being produced to being counted; *otherwise* is the same in the two
seconds that end {QUIET / 2:.0f} seconds before a version is registered."""

SHOWN = {
    "judged_s": "judged after",
    "counted_s": "counted after",
    "longest_s": "longest wait",
    "before_s": "otherwise",
}


class Round(NamedTuple):
    """A version: when it was about to be registered, its records, and when they were counted; s, monotonic."""

    began: float
    records: Sequence[Produced]
    counted: float


def measure(bench: Bench) -> Figures:
    rounds = bench.pick(4, 2)
    fields = (f"bench_{n}" for n in count())
    with bench.stage("evolve") as stage:
        runs = [run(bench, stage, list(islice(fields, rounds)), rate) for rate in (0, RATE)]
    return {"runs": runs}


def run(bench: Bench, stage: Stage, fields: Sequence[str], rate: int) -> Figures:
    """One version after the other, each with one of `fields`, beside a load of `rate`, which may be none."""
    made: list[Round] = []
    log: list[Produced] = []
    with ExitStack() as stack:
        if rate:
            enough = rate * len(fields) * bench.pick(30, 20)
            file = prepare(stage.settings, stage.directory / "load", enough, rate, SEED)
            load = stack.enter_context(Worker(produce, stage.settings, file, rate, LINGER_MS, True))
        verdicts = stack.enter_context(Worker(judged, stage.settings))
        client = stack.enter_context(Worker(rest, stage.url))
        for field, events in zip(fields, batches(stage), strict=False):
            catch_up(stage, client)
            time.sleep(QUIET)
            made.append(change(stage, client, field, events))
            bench.say(f"{rate:,}/s: counted after {made[-1].counted - made[-1].began:.1f} s")
        if rate:
            load.stop()
            log = load.result(SETTLE_SECONDS)["log"]
        target = stage.produced()
        wait_until(lambda: client.count >= target, SETTLE_SECONDS, "the last record counted")
        for worker in (verdicts, client):
            worker.stop()
        found, sightings = verdicts.result(), Sightings(client.result()["seen"])
    return {"rate": rate, "rounds": [judge(each, found, sightings, log) for each in made]}


def catch_up(stage: Stage, client: Worker) -> None:
    """Until what is produced is counted at once again, several times in a row."""

    def at_once() -> bool:
        target = stage.produced()
        began = time.monotonic()
        wait_until(lambda: client.count >= target, SETTLE_SECONDS, "what is produced counted")
        return time.monotonic() - began < AT_ONCE_SECONDS

    def steady() -> bool:
        return all(at_once() for _ in range(5))

    wait_until(steady, 2 * SETTLE_SECONDS, "a lag as without a new version")


def batches(stage: Stage) -> Iterator[list[dict[str, Any]]]:
    """Good clicks, RECORDS at a time."""
    shop = ShopSimulator(SEED + 1, datetime.now(UTC), schema_ids(stage.settings), Dials.none(), live=True)
    clicks = (e.event for e in iter(lambda: shop.next(datetime.now(UTC)), None) if e.topic == TOPIC)
    while True:
        yield list(islice(clicks, RECORDS))


def change(stage: Stage, client: Worker, field: str, events: Sequence[dict[str, Any]]) -> Round:
    """Register a version with a new field, write the events with it, wait until they are counted."""
    settings, places = stage.settings, []
    avro = json.loads(CONTRACTS[TOPIC].avro_json)
    avro["fields"].append({"name": field, "type": ["null", "int"], "default": None})
    bodies = []
    for n, event in enumerate(events):
        body = io.BytesIO()
        fastavro.schemaless_writer(body, avro, {**event, field: n})
        bodies.append((event[CONTRACTS[TOPIC].key].encode(), body.getvalue()))
    producer = EventProducer(
        settings.kafka_bootstrap_servers,
        settings.topic_prefix,
        {},
        on_delivered=lambda *at: places.append(at),
        linger_ms=LINGER_MS,
    )
    registry = Registry(settings.kafka_schema_registry)
    began = time.monotonic()
    header = HEADER.pack(MAGIC, registry.register(subject(settings, TOPIC), avro))
    handed = time.monotonic()
    with producer:
        for key, body in bodies:
            producer.produce_raw(TOPIC, key, header + body)
    registry.close()
    target = stage.produced()
    wait_until(lambda: client.count >= target, SETTLE_SECONDS, f"the records with {field} counted")
    return Round(began, [Produced(handed, *at) for at in places], time.monotonic())


def judge(made: Round, verdicts: Sequence[Judged], sightings: Sightings, log: Sequence[Produced]) -> Figures:
    """What a version cost. Raises BenchError if it cost a record."""
    of: dict[tuple[str, int, int], list[Judged]] = {record[1:]: [] for record in made.records}
    for verdict in verdicts:
        if verdict[1:4] in of:
            of[verdict[1:4]].append(verdict)
    first = {place: next((v for v in each if v.verdict != "u"), None) for place, each in of.items()}
    if wrong := [place for place, verdict in first.items() if verdict is None or verdict.verdict != "a"]:
        raise BenchError(f"expected all records of a new version to be accepted, saw others at {wrong}")
    middle = made.began - QUIET / 2
    counted, _ = waits(made.records, sightings)
    return {
        "undecided": sum(any(v.verdict == "u" for v in each) for each in of.values()),
        "judged_s": round(max(verdict.at for verdict in first.values()) - made.began, 2),
        "counted_s": round(made.records[0].at - made.began + max(counted) / 1000, 2),
        "longest_s": longest([*(r for r in log if middle < r.at < made.counted), *made.records], sightings),
        "before_s": longest([r for r in log if made.began - QUIET < r.at < middle], sightings),
    }


def longest(records: Iterable[Produced], sightings: Sightings) -> float | None:
    """The longest wait of these records, s."""
    found, _ = waits(records, sightings)
    return round(max(found) / 1000, 2) if found else None


def tables(figures: Figures) -> list[Table]:
    rows = []
    for each in figures["runs"]:
        of = {name: sorted(made[name] for made in each["rounds"] if made[name] is not None) for name in SHOWN}
        spans = [f"{percentile(v, 0.5):.2f} / {v[-1]:.2f}" if v else None for v in of.values()]
        undecided = sum(made["undecided"] for made in each["rounds"])
        rows.append([each["rate"], len(each["rounds"]), undecided, *spans])
    columns = ("other records/s", "versions", "undecided at first", *SHOWN.values())
    note = f"undecided at first: of {RECORDS} records of each version"
    return [Table("Seconds, median / longest of the versions", columns, rows, [note])]


PART = Part("evolve", "A new version of a schema", METHOD, measure, tables)

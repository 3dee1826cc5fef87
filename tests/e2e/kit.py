"""What the end-to-end tests share: a shop with ground truth, its answers over REST, a reader that keeps asking."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from infra.kafka import Offsets, admin, consumer, identities, log_bounds
from infra.registry import schema_ids
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import DataflowError
from schemas.metrics import METRICS
from sources.codec import EventCodec
from sources.generator import Dials, Emission, GroundTruth, ShopSimulator, moments
from sources.producer import EventProducer, Pacer
from tests.e2e.asking import Asking
from tests.helpers import wait_for
from tests.sources.recomputation import Recomputed

START = datetime(2026, 3, 2, tzinfo=UTC)
SPAN = timedelta(hours=12)
WINDOW = timedelta(minutes=1_440)
EARLIEST = START - timedelta(days=6)  # a late event lies up to five days back

Source = tuple[str, int, int, bytes | None, bytes | None]  # topic, partition, offset, key, value


class Shop:
    """Seeded records of a shop with all dials up, and what every figure must be after those produced so far."""

    def __init__(self, settings: Settings, count: int, seed: int = 5, span: timedelta = SPAN) -> None:
        self.settings, self.span = settings, span
        self.ids = schema_ids(settings)
        self.truth = GroundTruth()
        self._shop = ShopSimulator(seed, START, self.ids, Dials.all_up(), truth=self.truth)
        self._times = moments(START, span, count)
        self.produced: list[Emission] = []

    def produce(self, count: int) -> None:
        """The next `count` records; returns when the broker has them."""
        with self.producer() as producer:
            for _ in range(count):
                self._next(producer)
            producer.flush(120)

    @contextmanager
    def flowing(self, rate: float, patience: float = 300) -> Iterator[None]:
        """Produce `rate` records a second from a thread of this process until the block ends.

        The broker may be away meanwhile: each record is tried for `patience` seconds, in order and once. When this
        returns the broker has them all.
        """
        stop, failed = threading.Event(), []

        def flow() -> None:
            pacer = Pacer(rate, forgiven_after=1)
            try:
                with self.producer(patience) as producer:
                    while not stop.is_set():
                        pacer.wait()
                        self._next(producer)
                    producer.flush(patience)
            except Exception as error:  # noqa: BLE001 raised again where somebody sees it
                failed.append(error)

        thread = threading.Thread(target=flow, name="flow")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]

    def producer(self, patience: float = 120) -> EventProducer:
        servers, prefix = self.settings.kafka_bootstrap_servers, self.settings.topic_prefix
        return EventProducer(servers, prefix, self.ids, delivery_seconds=patience)

    def take(self, count: int) -> list[Emission]:
        """The next `count` records, counted in the truth, for a caller that produces them itself."""
        taken = [self._shop.next(next(self._times)) for _ in range(count)]
        self.produced += taken
        return taken

    def counted(self, emission: Emission) -> None:
        """A record that somebody else has produced."""
        self.truth.record(emission)
        self.produced.append(emission)

    def forget(self, topic: str) -> None:
        """The topic was deleted: what was produced to it so far counts no longer."""
        self.produced = [emission for emission in self.produced if emission.topic != topic]
        self.truth = self._shop.truth = GroundTruth()
        for emission in self.produced:
            self.truth.record(emission)

    def _next(self, producer: EventProducer) -> None:
        [emission] = self.take(1)
        producer.produce_raw(emission.topic, emission.key, emission.value)


class Rest:
    """The API, asked for whole metrics in the form of the ground truth."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = self.http.get(path, params=parameters)
        assert answer.status_code == 200, (answer.status_code, answer.text[:500])
        return answer.json()

    def caught_up(self, records: int, timeout: float = 120) -> None:
        """Wait until as many records are counted."""

        def position() -> int | None:
            try:
                answer = self.http.get("/v1/status")
                return answer.status_code == 200 and answer.json()["as_of"]["position"]
            except (httpx.HTTPError, KeyError, TypeError, ValueError):
                return None

        wait_for(
            lambda: position() == records, timeout, f"{records} records counted (the last: {position()})"
        )

    def at_ends(self, settings: Settings, timeout: float = 300) -> None:
        """Wait until everything that the source topics hold when this is called is counted, empty offsets too."""
        ends = wait_for(lambda: committed_ends(settings), 60, "the ends of the source topics")
        seen: dict[str, Any] = {}

        def offsets() -> Offsets | None:
            try:
                seen["status"] = self.http.get("/v1/status").json()
                found = seen["status"]["as_of"]["offsets"]
                return {(t, int(p)): o for t, partitions in found.items() for p, o in partitions.items()}
            except (httpx.HTTPError, KeyError, TypeError, ValueError):
                return None

        def missing() -> dict[tuple[str, int], int | None]:
            found = offsets() or {}
            return {at: found.get(at) for at, end in ends.items() if found.get(at, -1) < end}

        deadline = time.monotonic() + timeout
        while left := missing():
            if time.monotonic() > deadline:
                pytest.fail(f"not at {ends} within {timeout:.0f} s; seen instead: {left}\n{seen}")
            time.sleep(0.1)

    def rows(self, metric: str, grain: str, last: datetime) -> dict[tuple, dict[str, int]]:
        """All rows of a metric by all its dimensions: (start, *dimensions) → measures in minor units."""
        declared = METRICS[metric]
        by = getattr(declared, "by", ())
        spans: Sequence[dict[str, str]] = [{}]
        if grain != "all":
            width = WINDOW if grain == "minute" else timedelta(days=80)
            steps = range(int((last - EARLIEST) / width) + 1)
            edges = [(EARLIEST + n * width, EARLIEST + (n + 1) * width) for n in steps]
            spans = [{"from": a.isoformat(), "to": b.isoformat()} for a, b in edges]
        found: dict[tuple, dict[str, int]] = {}
        for span in spans:
            parameters = {"grain": grain, "by": ",".join(by), **span}
            if not by:
                del parameters["by"]
            for row in self.get(f"/v1/metrics/{metric}", **parameters)["rows"]:
                start = int(datetime.fromisoformat(row["start"]).timestamp()) if grain != "all" else 0
                key = (start, *(row[name] or "" for name in by))
                measures = {m.name: minor(row[m.name], m.unit) for m in declared.measures}
                found[key] = {name: n for name, n in measures.items() if n}
        return found


def minor(value: Any, unit: str) -> int:
    if unit != "money":
        return value
    assert isinstance(value, str), f"money left the house as {value!r}"
    whole, _, cents = value.partition(".")
    assert len(cents) == 2
    return int(whole + cents)


def expect_truth(
    rest: Rest,
    truth: GroundTruth,
    grains: Sequence[str] = ("minute", "hour", "day", "all"),
    span: timedelta = SPAN,
) -> None:
    """Every figure over REST equals the ground truth to the cent, and every record has exactly one verdict.

    `span` is how long a time the shop's records are from.
    """
    last = START + span + timedelta(days=1)
    for metric in ("revenue", "items", "payments", "customers", "reviews", "funnel", "clicks"):
        for grain in grains:
            expected = {
                k: {n: v for n, v in row.items() if v} for k, row in truth.rows(metric, grain).items()
            }
            expected = {
                k: row for k, row in expected.items() if grain == "all" or k[0] >= EARLIEST.timestamp()
            }
            found = rest.rows(metric, grain, last)
            assert found == {k: row for k, row in expected.items() if row}, (metric, grain)
    assert rest.get("/v1/metrics/active")["rows"] == [next(iter(truth.rows("active", "all").values()))]
    totals = {row["topic"]: row for row in rest.get("/v1/metrics/events", grain="all", by="topic")["rows"]}
    for topic in CONTRACTS:
        expected = truth.verdicts(topic)
        assert {name: totals.get(topic, {}).get(name, 0) for name in expected} == expected, topic
    exactness = rest.get("/v1/exactness")
    assert exactness["exact"] is True
    assert exactness["held"] == {}


class Reader(Asking):
    """Asks all the time, from a thread; every answer must be a prefix's, and none may go back.

    With `empties` there may be offsets without a record. A new generation begins at its own offsets; an older one
    than was seen is a fault.
    """

    def __init__(self, url: str, *, empties: bool = False, pause: float = 0.02) -> None:
        super().__init__(url, pause=pause, timeout=10)
        self.empties = empties
        self.answers: list[dict[str, Any]] = []
        self.refused = 0  # answers that said 503
        self.away = 0  # times that there was none
        self.generation = 0
        self._newest: dict[str, dict[str, int]] = {}

    def look(self, http: httpx.Client) -> None:
        try:
            answer = http.get("/v1/metrics/events", params={"grain": "all", "by": "topic"})
            orders = http.get("/v1/metrics/revenue", params={"grain": "all"})
        except httpx.HTTPError:
            self.away += 1
            return
        for each in (answer, orders):
            if each.status_code == 503:
                self.refused += 1
            elif each.status_code != 200:
                self.faults.append(f"{each.status_code}: {each.text[:300]}")
            else:
                self._newest = self.check(each.json(), self._newest)

    def check(self, answer: dict[str, Any], before: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        offsets, generation = answer["as_of"]["offsets"], int(answer["as_of"]["generation"][1:])
        if generation != self.generation:
            if generation < self.generation:
                self.faults.append(f"generation {generation} after {self.generation}")
            self.generation, before = generation, {}
        for topic, partitions in before.items():
            for partition, offset in partitions.items():
                now = offsets.get(topic, {}).get(partition, 0)
                if now < offset:
                    self.faults.append(f"{topic}/{partition} went back from {offset} to {now}")
        if answer["metric"] == "events":
            counted = {row["topic"]: row["records"] for row in answer["rows"]}
            covered = {topic: sum(p.values()) for topic, p in offsets.items() if sum(p.values())}
            right = counted == covered
            if self.empties:
                right = all(n <= covered.get(topic, 0) for topic, n in counted.items())
            if not right:
                self.faults.append(f"counted {counted} at {covered}")
        else:
            self.answers.append(answer)
        return offsets


class Across(Reader):
    """Goes along with whichever generation is live; what it was told of it is told of by the next one, too."""

    def check(self, answer: dict[str, Any], before: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        self.generation = int(answer["as_of"]["generation"][1:])
        return super().check(answer, before)


def committed_ends(settings: Settings) -> Offsets | None:
    """Where each source partition ends for a read_committed reader; None while the broker does not say."""
    prefix, client = settings.topic_prefix, admin(settings.kafka_bootstrap_servers)
    try:
        found = identities(client, [prefix + topic for topic in CONTRACTS])
        _, ends = log_bounds(
            client, [(name, p) for name, topic in found.items() for p in range(topic.partitions)]
        )
    except (DataflowError, KafkaException):
        return None
    return {(name.removeprefix(prefix), p): end for (name, p), end in ends.items()}


def expect_prefixes(
    settings: Settings,
    answers: Sequence[dict[str, Any]],
    sample: int = 8,
    cancelled: Sequence[str] = Recomputed.cancelled,
    lost: Sequence[Source] = (),
) -> None:
    """Some answers, spread over the run, equal a plain recomputation over exactly the offsets that they name.

    `cancelled` are the states of an order that counts as such by the definition that the answers were made by; `lost`
    are records that the topics may no longer have.
    """
    codec = EventCodec(schema_ids(settings))
    by_place = {record[:3]: record for record in (*lost, *source_records(settings))}
    records = [by_place[place] for place in sorted(by_place)]
    step = max(1, len(answers) // sample)
    for answer in answers[::step]:
        offsets = answer["as_of"]["offsets"]
        prefix = [(t, k, v) for t, p, o, k, v in records if o < offsets[t][str(p)]]
        oracle = Recomputed(prefix, codec, datetime.now(UTC))
        oracle.cancelled = cancelled
        rows = oracle.rows("revenue", "all", "UTC").values()
        expected = {
            name: sum(row[name] for row in rows) for name in ("gross", "cancelled", "refunded", "orders")
        }
        measures = {m.name: m.unit for m in METRICS["revenue"].measures}
        row = answer["rows"][0] if answer["rows"] else dict.fromkeys(measures, 0)
        found = {n: minor(row[n], u) if row[n] else 0 for n, u in measures.items()}
        assert found == expected, f"{answer['as_of']['generation']} at {offsets}: {found} for {expected}"


def source_records(settings: Settings) -> list[Source]:
    """Every committed record that the source topics still have."""
    prefix, found = settings.topic_prefix, []
    client = admin(settings.kafka_bootstrap_servers)
    for topic in CONTRACTS:
        reader = consumer(settings.kafka_bootstrap_servers, "oracle", **{"enable.partition.eof": True})
        count = len(reader.list_topics(prefix + topic, 15).topics[prefix + topic].partitions)
        first, _ = log_bounds(client, [(prefix + topic, p) for p in range(count)])
        reader.assign([TopicPartition(*at, offset) for at, offset in first.items()])
        ended, deadline = set(), time.monotonic() + 60
        while len(ended) < count and time.monotonic() < deadline:
            for message in reader.consume(1_000, 0.2):
                if message.error():
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    ended.add(message.partition())
                else:
                    found.append(
                        (topic, message.partition(), message.offset(), message.key(), message.value())
                    )
        reader.close()
        assert len(ended) == count
    return found

"""The REST ingest is killed between two writes: whoever got no answer sends again, and each event counts once."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
from confluent_kafka import Message

from infra.bootstrap import bootstrap
from infra.read_topic import read_topic
from infra.registry import schema_ids
from infra.runtime.platform import Platform
from infra.settings import Settings
from schemas.contract import CONTRACTS
from sources.codec import EventCodec
from tests.helpers import wait_for
from tests.serving.api.documents import VIEW, new_id, order
from tests.serving.kit import Folded, stored_rows, verdict_of

pytestmark = pytest.mark.chaos

REQUESTS, SIDE_BY_SIDE = 8, 4
ENTITIES = 40  # per request
RUN = 100
SOMETIME = datetime(2026, 5, 17, tzinfo=UTC)
AROUND_VERSIONS = ["api.before_versions:3", "api.after_versions:3"]
AROUND_DELIVERY = ["api.before_deliver:3", "api.after_deliver:3"]


@dataclass(frozen=True)
class Request:
    """NDJSON, and the Idempotency-Key by which a retry is known where the documents have no ids of their own."""

    documents: tuple[dict[str, Any], ...]
    idempotency_key: str | None

    @classmethod
    def of(cls, documents: list[dict[str, Any]], known_by: str) -> "Request":
        if known_by == "Idempotency-Key":
            return cls(tuple(documents), new_id())
        return cls(tuple({**document, "event_id": new_id()} for document in documents), None)

    @property
    def headers(self) -> dict[str, str]:
        key = {} if self.idempotency_key is None else {"Idempotency-Key": self.idempotency_key}
        return {"Content-Type": "application/x-ndjson", **key}

    @property
    def content(self) -> bytes:
        return b"\n".join(map(orjson.dumps, self.documents))


class Client:
    """Sends requests side by side, each again and again until it is answered."""

    def __init__(self, url: str, topic: str) -> None:
        self.path, self.unanswered = f"/v1/events/{topic}", 0
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def send_all(self, requests: list[Request]) -> list[dict[str, Any]]:
        """The outcome of each document, in order."""
        with self._http, ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
            return [outcome for outcomes in threads.map(self._send, requests) for outcome in outcomes]

    def _send(self, request: Request) -> list[dict[str, Any]]:
        answer = wait_for(lambda: self._attempt(request), 60, "an answer")
        assert answer.status_code == 202, answer.text
        body = answer.json()
        assert body["accepted"] == len(request.documents)
        return body["results"]

    def _attempt(self, request: Request) -> httpx.Response | None:
        try:
            return self._http.post(self.path, content=request.content, headers=request.headers)
        except httpx.TransportError:
            self.unanswered += 1
            return None


class Scene:
    """An environment of one partition a topic, whose API is killed once at a failpoint while a client sends."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.settings, self.topic = settings.replace(kafka_partitions=1), topic
        bootstrap(self.settings)
        self.codec = EventCodec(schema_ids(self.settings))
        self.outcomes: list[dict[str, Any]] = []
        self.records: list[Message] = []

    def run(self, requests: list[Request], failpoint: str) -> None:
        """Send everything through the kill, and read what is in Kafka then."""
        with Platform(self.settings.replace(dataflow_failpoint=failpoint), ("api",)) as platform:
            client = Client(platform.url, self.topic)
            self.outcomes = client.send_all(requests)
            assert platform.supervisor.process("api").restarts == 1
        name = failpoint.partition(":")[0]
        marker = self.settings.state_dir / "failpoints" / name
        assert marker.exists(), "nothing was killed, so this test has shown nothing"
        assert client.unanswered
        self.records = list(
            read_topic(self.settings.kafka_bootstrap_servers, self.settings.topic_prefix + self.topic)
        )
        if name == "api.after_deliver":
            assert len(self.records) > len(self.outcomes), (
                "nothing came twice, so this test has shown nothing"
            )

    def copies(self) -> dict[str, list[dict[str, Any]]]:
        """All events in Kafka by their id."""
        found = defaultdict(list)
        for record in self.records:
            event = self.codec.decode(self.topic, record.value())
            found[event["event_id"]].append(event)
        return found

    def rows(self, metric: str) -> dict[tuple, dict[str, int]]:
        """What a metric shows of the records, each of them counted as a change or as none."""
        folded = Folded(self.settings)
        try:
            verdicts = [verdict_of(self.topic, record, self.codec.schema_ids) for record in self.records]
            for start in range(0, len(verdicts), RUN):
                folded.apply(verdicts[start : start + RUN])
            counts = {name.decode(): int(n) for name, n in folded.redis.hgetall(folded.keys.counts).items()}
            assert counts.pop(f"{self.topic}/0/changed") == len(self.outcomes)
            assert set(counts) <= {f"{self.topic}/0/repeat", f"{self.topic}/0/superseded"}
            assert sum(counts.values()) == len(self.records) - len(self.outcomes)
            return stored_rows(folded.redis, folded.keys, metric, "all")
        finally:
            folded.close()


def orders(known_by: str) -> Iterator[Request]:
    """Orders that are placed, and further down in the same request changed or cancelled."""
    for _ in range(REQUESTS):
        placed = [order(total_amount="10.00") for _ in range(ENTITIES)]
        changed = [
            {**document, "total_amount": "12.50", "status": "cancelled" if n % 4 == 0 else "paid"}
            for n, document in enumerate(placed)
        ]
        yield Request.of([*placed, *changed], known_by)


@pytest.mark.parametrize(
    "known_by", ["event_id", pytest.param("Idempotency-Key", marks=pytest.mark.longhaul)]
)
@pytest.mark.parametrize(
    "failpoint",
    [
        pytest.param(AROUND_VERSIONS[0], marks=pytest.mark.longhaul),
        pytest.param(AROUND_VERSIONS[1], marks=pytest.mark.longhaul),
        AROUND_DELIVERY[0],
        pytest.param(AROUND_DELIVERY[1], marks=pytest.mark.longhaul),
    ],
)
def test_rows_count_once_whatever_the_kill_left_behind(settings, failpoint, known_by):
    scene = Scene(settings, "orders")
    requests = list(orders(known_by))
    sent = [document for request in requests for document in request.documents]
    scene.run(requests, failpoint)

    copies = scene.copies()
    ids = [outcome["event_id"] for outcome in scene.outcomes]
    assert len(set(ids)) == len(ids) == len(sent)
    assert set(copies) == set(ids)
    if known_by == "event_id":
        assert ids == [document["event_id"] for document in sent]
    for outcome, document in zip(scene.outcomes, sent, strict=True):
        # Only the time of the attempt may differ, which is no part of the row.
        contents = {
            scene.codec.encode("orders", {**e, "occurred_at": SOMETIME}) for e in copies[outcome["event_id"]]
        }
        assert len(contents) == 1
        event = copies[outcome["event_id"]][0]
        assert (event["version"], event["order_id"]) == (outcome["version"], document["order_id"])
    assert len({(e[0]["order_id"], e[0]["version"]) for e in copies.values()}) == len(sent)

    count = REQUESTS * ENTITIES
    assert scene.rows("revenue") == {
        (0, "card", "DE"): {"orders": count, "gross": count * 1250, "cancelled": count // 4 * 1250}
    }


@pytest.mark.longhaul
@pytest.mark.parametrize("failpoint", AROUND_DELIVERY)
def test_facts_count_once_whatever_the_kill_left_behind(settings, failpoint):
    scene = Scene(settings, "clickstream")
    views = [[{**VIEW, "session_id": new_id()} for _ in range(2 * ENTITIES)] for _ in range(REQUESTS)]
    scene.run([Request.of(each, "Idempotency-Key") for each in views], failpoint)

    copies = scene.copies()
    assert set(copies) == {outcome["event_id"] for outcome in scene.outcomes}
    key = CONTRACTS["clickstream"].key
    assert all(len({event[key] for event in events}) == 1 for events in copies.values())
    assert scene.rows("clicks") == {(0, "product_view", "mobile"): {"events": len(scene.outcomes)}}

"""What the API's tests share: the real application behind a real server, and live state written by the real commit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import orjson

from dataflow.testing.rest import Running, free_port, serving
from infra.settings import Settings
from schemas.contract import CONTRACTS
from serving.store.keys import Keys, place
from serving.store.store import Operation, Store, connect

__all__ = [
    "MICROS",
    "MINUTE",
    "Events",
    "Running",
    "State",
    "assert_problem",
    "free_port",
    "listening",
    "places_of",
    "serving",
]

MINUTE = 1_779_010_200  # 2026-05-17T09:30:00Z
MICROS = 1_000_000


class State:
    """The live state of a generation in Redis, through the functions that the materializer uses."""

    def __init__(self, settings: Settings, generation: str = "g1") -> None:
        self.settings = settings
        self.redis = connect(settings)
        self.keys = Keys.of(settings, generation)
        self.store = Store(self.redis, self.keys)
        self.places = [(topic, p) for topic in CONTRACTS for p in range(settings.kafka_partitions)]
        self.begin()

    def begin(self, **meta: Any) -> None:
        """As the materializer begins: everything at offset 0."""
        self.epoch = self.store.claim().epoch
        self.fences = dict.fromkeys(self.places, 0)
        zeros = [part for at in self.places for part in (place(*at), 0)]
        fields = ["spec", "x", *(part for pair in meta.items() for part in pair)]
        self.store.commit(
            self.epoch,
            {},
            [("S", self.keys.meta, fields), ("S", self.keys.base, zeros), ("S", self.keys.fence, zeros)],
        )

    def apply(
        self,
        topic: str,
        *operations: Operation,
        partition: int = 0,
        records: int = 1,
        event_time: int = MINUTE,
        verdict: str = "changed",
    ) -> None:
        """Count `records` of one partition, with what they do. `event_time` is in seconds."""
        at = (topic, partition)
        meta = ["newest", event_time * MICROS, f"newest:{topic}", event_time * MICROS]
        meta += ["kafka_time", event_time * MICROS]
        counts = ("A", self.keys.counts, [f"{place(*at)}/{verdict}", records])
        self.store.commit(
            self.epoch,
            {at: (self.fences[at], self.fences[at] + records)},
            [("S", self.keys.meta, meta), counts, *operations],
        )
        self.fences[at] += records

    def order(self, cents: int, minute: int = MINUTE, method: str = "card", country: str = "DE") -> None:
        """One order more."""
        amounts = [f"{method},{country}|gross", cents, f"{method},{country}|orders", 1]
        starts = {"all": 0, "minute": minute, "hour": minute - minute % 3600, "day": minute - minute % 86400}
        added = [("A", self.keys.bucket("revenue", g, s), amounts) for g, s in starts.items()]
        self.apply("orders", *added, event_time=minute)

    def products(self, rows: dict[str, list[Any]], version: int = 1) -> None:
        """Rows of the products dimension: id → [name, category, price]."""
        flat = [part for key, row in rows.items() for part in (key, orjson.dumps(row))]
        self.apply(
            "products",
            ("S", self.keys.dimension("products"), flat),
            ("S", self.keys.meta, ["dims", version]),
        )

    def close(self) -> None:
        self.redis.close()


class Events:
    """Server-sent events of a stream, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.iter_text()
        self._rest, self.last = "", ""
        self.comments = 0

    def next(self, *wanted: str) -> tuple[str, Any, str | None]:
        """Event, data, id without the mark of the topics (`last` has it whole).

        What is none (retry, heartbeat) is passed over, and so are notes that are not `wanted`.
        """
        while True:
            block, found, rest = self._rest.partition("\n\n")
            if not found:
                self._rest += next(self._chunks)
                continue
            self._rest = rest
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if "data" in fields and fields["event"] in ("state", "snapshot", *wanted):
                self.last = fields.get("id", self.last)
                shown = fields["id"].rpartition("-")[0] if "id" in fields else None
                return fields["event"], orjson.loads(fields["data"]), shown
            self.comments += block.startswith(":")

    def to_the_end(self) -> None:
        """Read until the server ends the stream."""
        for _ in self._chunks:
            pass

    def until(self, event: str, attempts: int = 50) -> tuple[Any, str | None]:
        """Data and id of the next event of a kind."""
        for _ in range(attempts):
            kind, data, event_id = self.next(event)
            if kind == event:
                return data, event_id
        raise AssertionError(f"no event {event} among {attempts}")


@contextmanager
def listening(api: Running, last: str | None = None, **headers: str) -> Iterator[Events]:
    """A push client; what it saw `last` is of the topics that are there now, unless it says of which."""
    if last and last.count("-") == 1:
        last = f"{last}-{api.service.world}"
    headers = {**headers, **({"Last-Event-ID": last} if last else {})}
    with api.http.stream("GET", "/v1/live", headers=headers) as response:
        assert response.status_code == 200, response.read()
        yield Events(response)


def assert_problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The answer is that problem document; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"/problems/{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["instance"].startswith("/")
    return body


def places_of(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows about partitions by place."""
    return {place(row["topic"], row["partition"]): row for row in rows}

"""A shop to look at: live state by the real fold, a small lake, and the real API over both, which can be stopped."""

import itertools
import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import httpx

from infra.kafka import admin, ensure_topics
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.topics import JUDGED, TOPICS
from serving.api.app import create_app
from serving.api.server import Server, server_of
from serving.store.keys import place
from streams.lake.place import lake_root
from tests.helpers import wait_for
from tests.serving.api.conftest import started
from tests.serving.api.kit import free_port
from tests.serving.kit import Folded, Verdict, verdicts
from tests.serving.lake_kit import SmallLake, customer, sales
from tests.sources.generator_kit import ALL_UP, history

RUN = 500  # verdicts a commit, as the materializer takes them


@cache
def tape(count: int = 12_000) -> list[Verdict]:
    """Verdicts of two hours of an untidy shop: repeats, late and refused records are among them."""
    emissions, _ = history(ALL_UP, count, span=timedelta(hours=2))
    return verdicts(emissions)


class Shop:
    """An environment with its topics, its live state, and the API at one address for good."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.replace(kafka_partitions=1, api_port=free_port())
        self.url = f"http://127.0.0.1:{self.settings.api_port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        topics = {
            self.settings.topic_prefix + name: topic for name, topic in TOPICS.items() if name != JUDGED
        }
        ensure_topics(admin(self.settings.kafka_bootstrap_servers), topics, 1, 1)
        wait_for(lambda: started(self.settings), what="the generation")
        self._numbers = itertools.count(1)
        self.lake = SmallLake(lake_root(self.settings, "g1"), self.settings)
        self.lake.write({"daily_sales": [sales(4, 1), sales(5, 2), sales(11, 1)], "customers": [customer(1)]})
        self.server: tuple[Server, threading.Thread] | None = None
        self.begin()

    # --- the state

    def begin(self) -> None:
        """As the materializer begins: nothing is counted."""
        self.folded = Folded(self.settings)
        self.log: list[Verdict] = []
        base = {place(topic, 0): 0 for topic in CONTRACTS}
        self.folded.redis.hset(self.folded.keys.base, mapping=base)

    def forget(self) -> None:
        """As if somebody had flushed Redis."""
        redis, keys = self.folded.redis, self.folded.keys
        redis.delete(*redis.scan_iter(match=keys.space + "*", count=1000))
        self.folded.close()

    def apply(self, run: Sequence[Verdict]) -> None:
        """Count verdicts, as if they came next in their topics."""
        offsets = {topic: self.next_offset(topic) for topic in CONTRACTS}
        placed = []
        for verdict in run:
            placed.append({**verdict, "o": offsets[verdict["t"]]})
            offsets[verdict["t"]] += 1
        for at in range(0, len(placed), RUN):
            self.folded.apply(placed[at : at + RUN])
        self.log += placed

    def order(self, cents: int, at: int) -> Verdict:
        """One order of an amount, at a time in seconds."""
        number = next(self._numbers)
        micros = at * 1_000_000
        event = {
            "order_id": str(UUID(int=number)),
            "event_id": str(UUID(int=number)),
            "order_date": micros,
            "created_at": micros,
            "updated_at": micros,
            "occurred_at": micros,
            "status": "placed",
            "total_amount": cents,
            "payment_method": "card",
            "shipping_country": "DE",
            "version": 1,
            "op": "c",
            "source": "test",
        }
        return {"t": "orders", "p": 0, "o": 0, "ts": micros, "v": "a", "h": number, "e": event}

    def next_offset(self, topic: str) -> int:
        return self.folded.fences[(topic, 0)]

    # --- the API

    def start(self) -> None:
        server = server_of(create_app(self.settings), self.settings)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        self.server = server, thread
        wait_for(lambda: server.started or not thread.is_alive(), what="the server's start")
        wait_for(lambda: self.http.get("/readyz").status_code == 200, 30, "readiness")

    def stop(self) -> None:
        if self.server is None:
            return
        server, thread = self.server
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the server did not end"
        self.server = None

    def get(self, path: str) -> dict[str, Any]:
        """The document at a path."""
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def total(self, metric: str) -> dict[str, Any]:
        """All of a metric, as REST says it."""
        return self.get(f"/v1/metrics/{metric}?grain=all")["rows"][0]

    def close(self) -> None:
        self.stop()
        self.http.close()
        self.lake.close()
        self.folded.close()

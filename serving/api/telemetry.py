"""What Prometheus gets: counted here as requests come and go, and read from the live state at each scrape."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from serving.api.health import Health
    from serving.verified import Found

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Telemetry:
    """The process's own counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "dataflow_http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "dataflow_http_request_seconds",
            "Time to answer, streams left out.",
            ("route", "method"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.ingested = Counter(
            "dataflow_ingest_events",
            "Events sent to the API: accepted by the broker, refused with a reason, or failed to reach it.",
            ("topic", "status"),
            registry=self.registry,
        )

    def expose(self, families: list[Metric]) -> bytes:
        """All of it in Prometheus' text format; `families` are what was read for this scrape."""
        return generate_latest(_Scrape(self.registry, families))


class _Scrape:
    """What one scrape collects: the registry's metrics and those made for it."""

    def __init__(self, registry: CollectorRegistry, families: list[Metric]) -> None:
        self._registry, self._families = registry, families

    def collect(self) -> Iterator[Metric]:
        yield from self._registry.collect()
        yield from self._families


def push_families(clients: int, snapshots: int) -> list[Metric]:
    return [
        GaugeMetricFamily("dataflow_live_clients", "Push clients connected.", clients),
        CounterMetricFamily("dataflow_live_snapshots", "Snapshots pushed.", value=snapshots),
    ]


def state_families(health: "Health | None", rebuilding: bool) -> list[Metric]:
    """The live state; `health` is None while it cannot be read."""
    found: list[Metric] = [
        GaugeMetricFamily("dataflow_up", "1 while the live state can be read.", int(health is not None)),
        GaugeMetricFamily("dataflow_rebuilding", "1 while the live state is rebuilt.", int(rebuilding)),
    ]
    if health is None:
        return found
    records = CounterMetricFamily(
        "dataflow_records", "Source records by verdict.", labels=("topic", "verdict")
    )
    sums: dict[tuple[str, str], int] = {}
    for proof in health.proofs:
        for verdict, count in proof.counts.items():
            sums[proof.topic, verdict] = sums.get((proof.topic, verdict), 0) + count
    for labels, count in sums.items():
        records.add_metric(labels, count)
    lag = GaugeMetricFamily("dataflow_lag_records", "Source records not counted yet.", labels=("topic",))
    for topic, behind in health.lag()["by_topic"].items():
        lag.add_metric((topic,), behind)
    return [
        *found,
        records,
        lag,
        GaugeMetricFamily(
            "dataflow_freshness_seconds",
            "Age of the newest counted record while others wait, else 0; +Inf while none is counted.",
            float("inf") if health.freshness_ms is None else health.freshness_ms / 1000,
        ),
        GaugeMetricFamily("dataflow_held_partitions", "Source partitions held at a hole.", len(health.held)),
        GaugeMetricFamily("dataflow_exact", "1 while every record has one verdict.", int(health.exact)),
    ]


def verified_families(found: "Found | None", now: float) -> list[Metric]:
    """What the verifier last found; nothing before its first round."""
    if found is None:
        return []
    age = GaugeMetricFamily(
        "dataflow_verified_age_seconds", "Since the verifier's last round.", now - found.at
    )
    if found.exact is None:
        return [age]
    differences = GaugeMetricFamily(
        "dataflow_verified_differences", "Tables and metrics that differ.", len(found.differences)
    )
    return [
        age,
        differences,
        GaugeMetricFamily(
            "dataflow_verified_exact", "1 while the second computation gives the same.", int(found.exact)
        ),
        GaugeMetricFamily("dataflow_verified_records", "Records that were verified.", found.records),
        GaugeMetricFamily(
            "dataflow_verified_manifest", "The lake's manifest that was verified.", found.manifest
        ),
    ]


class Observe:
    """ASGI middleware: counts and times each request by its route's template, never by its path."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app, self.telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, streams = time.perf_counter(), 500, False

        async def noting(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                streams = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", None) or "other"
            # Clients may make up methods; each would be a time series.
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.telemetry.requests.labels(route, method, status).inc()
            if not streams:
                elapsed = time.perf_counter() - began
                self.telemetry.seconds.labels(route, method).observe(elapsed)

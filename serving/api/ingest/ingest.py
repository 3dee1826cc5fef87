"""The ingest as a whole: lines of a request to one outcome each, accepted by the broker, refused or failed.

Refused documents go nowhere but back to the caller, with the reasons. Writes source topics.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from infra.failpoints import Failpoints
from infra.registry import schema_ids
from infra.settings import Settings
from schemas.errors import ContractError, EventError, Unavailable
from schemas.validate import Violation, micros
from serving.api.body import Line
from serving.api.ingest.delivery import DELIVERY_SECONDS, Delivered, Deliveries, Fate
from serving.api.ingest.typed import Accepted, Refused, idempotent_id, judge
from serving.api.ingest.versions import Versions
from serving.api.json_document import Malformed, parse
from serving.api.telemetry import Telemetry
from sources.codec import EventCodec

# Lines judged before others get their turn: some 5 ms.
SLICE = 50


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Outcome:
    """What became of one line: `body` says it to the caller."""

    line: int
    status: str  # accepted, refused, failed
    body: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"line": self.line, "status": self.status, **self.body}


@dataclass(frozen=True)
class Caller:
    """Who sends, and the key by which a retry of the whole request is known."""

    name: str
    idempotency_key: str | None


class Ingest:
    """Takes events for the source topics of one environment."""

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        telemetry: Telemetry,
        delivery_seconds: float = DELIVERY_SECONDS,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings, self._telemetry, self._clock = settings, telemetry, clock
        self._versions = Versions(redis, settings.redis_prefix)
        self._deliveries = Deliveries(
            settings.kafka_bootstrap_servers, settings.topic_prefix, delivery_seconds
        )
        self._failpoints = Failpoints(settings)
        self._codec: EventCodec | None = None
        self._loading = asyncio.Lock()

    def start(self) -> None:
        self._deliveries.start()

    def stop(self) -> None:
        self._deliveries.stop()

    async def take(self, topic: str, lines: Sequence[Line], caller: Caller) -> list[Outcome]:
        """One outcome per line, in their order. Raises Unavailable if no event can be taken at all now."""
        codec = await self._get_codec()
        now = self._clock()
        found: dict[int, Outcome] = {}
        accepted: dict[int, Accepted] = {}
        for n, line in enumerate(lines):
            judged = self._judge(topic, line, caller, now)
            if isinstance(judged, Accepted):
                accepted[line.number] = judged
            else:
                found[line.number] = Outcome(line.number, "refused", {"errors": judged.as_json()})
            if n % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        accepted, failed = await self._versioned(accepted, micros(now))
        found |= failed
        records: dict[int, tuple[bytes, bytes]] = {}
        for n, (number, each) in enumerate(accepted.items()):
            try:
                records[number] = codec.encode(topic, each.event)
            except EventError as error:
                # Its message may show the value.
                found[number] = _refused(number, error.rule, "the event cannot be written as Avro")
            if n % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        fates = await self._delivered(topic, list(records.values()))
        for number, fate in zip(records, fates, strict=True):
            found[number] = _outcome(number, accepted[number], fate)
        outcomes = [found[line.number] for line in lines]
        counts = Counter(outcome.status for outcome in outcomes)
        for status in ("accepted", "refused", "failed"):
            self._telemetry.ingested.labels(topic, status).inc(counts[status])
        return outcomes

    def _judge(self, topic: str, line: Line, caller: Caller, now: datetime) -> Accepted | Refused:
        if len(line.raw) > self._settings.max_event_bytes:
            most = self._settings.max_event_bytes
            reason = f"expected at most {most:,} bytes; saw {len(line.raw):,}"
            return Refused((Violation("too_large", reason),))
        try:
            document = parse(line.raw, line.number)
        except Malformed as error:
            return Refused((error.violation(),))
        if caller.idempotency_key is None:
            event_id = str(uuid.uuid4())
        else:
            event_id = idempotent_id(caller.name, topic, caller.idempotency_key, line.number)
        return judge(topic, document, event_id, now)

    async def _versioned(
        self, accepted: Mapping[int, Accepted], clock: int
    ) -> tuple[dict[int, Accepted], dict[int, Outcome]]:
        """The accepted ones, each with its version; and those that could get none."""
        bare = {number: each for number, each in accepted.items() if each.needs_version}
        if not bare:
            return dict(accepted), {}
        try:
            self._failpoints.hit("api.before_versions")
            versions = await self._versions.give([(a.topic, a.event_id) for a in bare.values()], clock)
            self._failpoints.hit("api.after_versions")
        except Unavailable as error:
            failed = {number: _failed(number, each, str(error)) for number, each in bare.items()}
            return {number: each for number, each in accepted.items() if number not in bare}, failed
        given = {n: each.with_version(v) for (n, each), v in zip(bare.items(), versions, strict=True)}
        return {number: given.get(number, each) for number, each in accepted.items()}, {}

    async def _delivered(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> list[Fate]:
        """What the broker did with each. Whoever gets no answer sends all again: each counts once all the same."""
        if not records:
            return []
        self._failpoints.hit("api.before_deliver")
        fates = await self._deliveries.deliver(topic, records)
        self._failpoints.hit("api.after_deliver")
        return fates

    async def _get_codec(self) -> EventCodec:
        if self._codec is None:
            async with self._loading:
                if self._codec is None:
                    try:
                        self._codec = EventCodec(await asyncio.to_thread(schema_ids, self._settings))
                    except ContractError as error:
                        raise Unavailable(str(error)) from error
        return self._codec


def _outcome(number: int, accepted: Accepted, fate: Fate) -> Outcome:
    if isinstance(fate, Delivered):
        body = {
            "topic": accepted.topic,
            "partition": fate.partition,
            "offset": fate.offset,
            "event_id": accepted.event_id,
        }
        if "version" in accepted.event:
            body["version"] = accepted.event["version"]
        return Outcome(number, "accepted", body)
    if fate.too_large:
        return _refused(number, "too_large", "the broker takes no record of this size")
    return _failed(number, accepted, fate.reason)


def _refused(number: int, rule: str, reason: str) -> Outcome:
    return Outcome(number, "refused", {"errors": Refused((Violation(rule, reason),)).as_json()})


def _failed(number: int, accepted: Accepted, reason: str) -> Outcome:
    """Nobody knows whether the broker has it; sent again with the same event id it counts once."""
    body = {"event_id": accepted.event_id, "retryable": True, "reason": reason}
    return Outcome(number, "failed", body)

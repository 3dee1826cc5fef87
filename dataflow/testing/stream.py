"""Puts typed events, raw records and crashes into a log: the source topics of an environment, or a list in memory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from dataflow.testing.abort import Abort
from dataflow.testing.events import Event, Events
from dataflow.testing.pipeline import Pipeline
from dataflow.testing.records import Place, Raw
from schemas.errors import DataflowError, Terminal
from sources.codec import EventCodec

Item = Event | Raw | tuple[str, Mapping[str, Any]] | Abort


class NothingToKill(DataflowError, Terminal):
    """An ABORT in an input that no pipeline works on."""


class Log(Protocol):
    """Where records go."""

    def put(self, records: Sequence[Raw]) -> list[Place]:
        """Append records, in their order; returns when they are durable, with the place of each."""


class Stream:
    """Produces to the source topics. Pipelines that are attached are what an ABORT kills."""

    def __init__(self, log: Log, codec: EventCodec, events: Events) -> None:
        self.log, self.codec, self.events = log, codec, events
        self.pipelines: list[Pipeline] = []

    def attach(self, pipeline: Pipeline) -> None:
        """Put a pipeline under test."""
        self.pipelines.append(pipeline)

    def produce(self, topic: str | Event, fields: Mapping[str, Any] | None = None, /, **more: Any) -> Place:
        """Produce one event; fields that are not given get their defaults (see `Events`). Returns where it is.

        Takes a whole event, too. Raises ContractError for unknown names, EventError for what Avro cannot hold,
        Unavailable if the broker does not take it.
        """
        event = topic if isinstance(topic, Event) else self.events(topic, fields, **more)
        return self.produce_all([event])[0]

    def produce_raw(self, topic: str, key: bytes | None, value: bytes | None) -> Place:
        """Produce any bytes."""
        return self.produce_all([Raw(topic, key, value)])[0]

    def change(self, before: Place | Event, fields: Mapping[str, Any] | None = None, /, **more: Any) -> Place:
        """Produce the next version of an entity: what was produced, with these fields changed."""
        return self.produce(self.events.change(_event(before), fields, **more))

    def delete(self, before: Place | Event) -> Place:
        """Produce the deletion of an entity."""
        return self.produce(self.events.delete(_event(before)))

    def produce_all(self, items: Iterable[Item]) -> list[Place]:
        """Produce events, raw records and (topic, fields) pairs in their order; returns their places.

        At each ABORT every attached pipeline is killed and started again (see `Abort`). Raises what `produce` raises;
        NothingToKill for an ABORT if no pipeline is attached; AssertionError if a named failpoint was not reached.
        """
        parts: list[list[Event | Raw]] = [[]]
        aborts: list[Abort] = []
        for item in items:
            if isinstance(item, Abort):
                aborts.append(item)
                parts.append([])
            else:
                parts[-1].append(self._record(item))
        if aborts and not self.pipelines:
            raise NothingToKill(
                "expected a pipeline to kill at ABORT, saw none attached: take the fixture `live` or `offline`, `to(…, "
                "failpoint)` of a time machine, or `attach` your own"
            )
        places = []
        for part, abort in zip(parts, [*aborts, None], strict=True):
            if abort is not None and abort.at is not None:
                for pipeline in self.pipelines:
                    pipeline.arm(abort.at)
            places += self._put(part)
            if abort is not None:
                self._crash(abort)
        return places

    def _crash(self, abort: Abort) -> None:
        for pipeline in self.pipelines:
            if abort.at is not None:
                pipeline.died()
            else:
                pipeline.kill()
            pipeline.start()

    def _record(self, item: Any) -> Event | Raw:
        if isinstance(item, Event | Raw):
            return item
        if isinstance(item, tuple) and len(item) == 2:
            return self.events(*item)
        raise TypeError(
            f"expected an Event, a Raw, a pair (topic, fields) or ABORT, saw {type(item).__name__}: {item!r:.100}"
        )

    def _put(self, part: Sequence[Event | Raw]) -> list[Place]:
        if not part:
            return []
        raws = [r if isinstance(r, Raw) else Raw(r.topic, *self.codec.encode(r.topic, r)) for r in part]
        places = self.log.put(raws)
        events = [item if isinstance(item, Event) else None for item in part]
        return [
            Place(at.topic, at.partition, at.offset, event) for at, event in zip(places, events, strict=True)
        ]


def _event(before: Place | Event) -> Event:
    found = before.event if isinstance(before, Place) else before
    if found is None:
        raise TypeError(f"expected the place of an event, saw {before}, where a raw record was produced")
    return found

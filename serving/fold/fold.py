"""Fold a run of verdicts into effects: new entity states, signed contributions, counts. Pure.

Verdicts of one source partition come in offset order. An entity's state is its row of the highest version; a version
not above it changes nothing; the same version with other content is refused, here, where state is. An update gives back
what the older version gave, so cancellations, corrections and late events are simply right.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.fold.plan import Cell, Plan, TopicPlan, minute_of
from serving.fold.state import SUMMARY, Facts, Latest, Place
from serving.store.keys import Keys, encode_dimensions, place

CONFLICT = "version_conflict"


@dataclass
class Effects:
    """What a run changes. `places` are entity states and facts (None: no change is ever a removal)."""

    places: dict[Place, Any] = field(default_factory=dict)
    cells: defaultdict[Cell, int] = field(default_factory=lambda: defaultdict(int))
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    active: dict[str, dict[bytes, int]] = field(default_factory=dict)
    dimensions: dict[str, dict[str, list[Any] | None]] = field(default_factory=dict)
    newest: dict[str, int] = field(
        default_factory=dict
    )  # topic → newest event time that changed something (µs)
    kafka_time: int = 0
    conflicts: list[tuple[str, int, int]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)  # of the run's verdicts, in their order


class Fold:
    """Folds runs of one generation. An event names no field that is null."""

    def __init__(self, plan: Plan, keys: Keys) -> None:
        self.plan, self.keys = plan, keys
        # per topic: the sorted set of a measure, the event's time, whom it counts
        self.actives = {
            topic: [
                (keys.active(a.name, measure), a.at, column)
                for a in of.actives
                for measure, column in a.keys.items()
            ]
            for topic, of in plan.topics.items()
        }

    def places(self, verdict: Mapping[str, Any]) -> tuple[Place, ...]:
        """What has to be known before this verdict can be folded."""
        event = verdict.get("e")
        if event is None:
            return ()
        plan = self.plan.topics[verdict["t"]]
        contract = plan.contract
        entity = plan.pack(event[contract.entity_id])
        if contract.is_change:
            return (self.keys.entity(contract.topic, entity),)
        key = self.keys.facts(contract.topic, event[contract.key])
        return (key, entity), (key, SUMMARY)

    def fold(self, run: Sequence[Mapping[str, Any]], known: Mapping[Place, Any]) -> Effects:
        """The effects of `run` on the state in `known`, which is not changed."""
        effects = Effects()
        outcomes: defaultdict[tuple[str, int, int, str], int] = defaultdict(int)
        for verdict in run:
            event, topic, at = verdict.get("e"), verdict["t"], verdict["ts"]
            if event is None:
                outcome = "refused"
            else:
                plan = self.plan.topics[topic]
                outcome = (self.change if plan.contract.is_change else self.fact)(
                    plan, event, verdict, known, effects
                )
                if outcome == "changed":
                    happened = event["occurred_at"]
                    if happened > effects.newest.get(topic, 0):
                        effects.newest[topic] = happened
            outcomes[topic, verdict["p"], minute_of(at), outcome] += 1
            effects.outcomes.append(outcome)
            if at > effects.kafka_time:
                effects.kafka_time = at
        self.count(outcomes, effects)
        return effects

    def count(self, outcomes: Mapping[tuple[str, int, int, str], int], effects: Effects) -> None:
        """Every verdict counts where it came from, and in the metrics of verdicts."""
        for (topic, partition, minute, outcome), records in outcomes.items():
            effects.counts[f"{place(topic, partition)}/{outcome}"] += records
            self.count_minute(topic, minute, outcome, records, effects)

    def count_minute(self, topic: str, minute: int, outcome: str, records: int, effects: Effects) -> None:
        """So many verdicts, in the metrics of verdicts; `minute` is its start in seconds."""
        dimension = encode_dimensions((topic,))
        for name in self.plan.verdicts:
            effects.cells[name, minute, dimension + "|records"] += records
            effects.cells[name, minute, f"{dimension}|{outcome}"] += records

    def change(
        self,
        plan: TopicPlan,
        event: Mapping[str, Any],
        verdict: Mapping[str, Any],
        known: Mapping[Place, Any],
        effects: Effects,
    ) -> str:
        """A new version of an entity, or not."""
        topic, entity_id, version = plan.contract.topic, event[plan.contract.entity_id], event["version"]
        where = self.keys.entity(topic, plan.pack(entity_id))
        before: Latest | None = effects.places.get(where) or known.get(where)
        if before is not None:
            if version < before.version:
                return "superseded"
            if version == before.version and verdict["h"] != before.content:
                effects.conflicts.append((topic, verdict["p"], verdict["o"]))
                return "refused"
            if version == before.version or event["event_id"] == before.event_id:
                return "repeat"
        latest = Latest(
            version, verdict["h"], event["event_id"], event["op"] == "d", [event.get(c) for c in plan.columns]
        )
        effects.places[where] = latest
        if before is not None and not before.deleted:
            row = dict(zip(plan.columns, before.values, strict=True))
            for metric in plan.rows:
                for cell, amount in metric.cells(row):
                    effects.cells[cell] -= amount
        if not latest.deleted:
            for metric in plan.rows:
                for cell, amount in metric.cells(event):
                    effects.cells[cell] += amount
        for dimension in plan.dimensions:
            attributes = None if latest.deleted else [event.get(name) for name in dimension.attributes]
            effects.dimensions.setdefault(dimension.name, {})[entity_id] = attributes
        return "changed"

    def fact(
        self,
        plan: TopicPlan,
        event: Mapping[str, Any],
        verdict: Mapping[str, Any],
        known: Mapping[Place, Any],
        effects: Effects,
    ) -> str:
        """A fact counts once: the same id under the same key again is a repeat."""
        contract = plan.contract
        key = self.keys.facts(contract.topic, event[contract.key])
        where = (key, plan.pack(event[contract.entity_id]))
        if effects.places.get(where) or known.get(where):
            return "repeat"
        effects.places[where] = True
        for metric in plan.rows:
            for cell, amount in metric.cells(event):
                effects.cells[cell] += amount
        self.reach(plan, key, event, known, effects)
        for key, at, column in self.actives[contract.topic]:
            member = event.get(column)
            if member is not None:
                scores = effects.active.setdefault(key, {})
                scores[member] = max(event[at], scores.get(member, event[at]))
        return "changed"

    def reach(
        self,
        plan: TopicPlan,
        key: str,
        event: Mapping[str, Any],
        known: Mapping[Place, Any],
        effects: Effects,
    ) -> None:
        """Move each funnel's stage to the bucket of the key's first event of it. Every key with facts has a summary."""
        where = (key, SUMMARY)
        before: Facts | None = effects.places.get(where) or known.get(where)
        firsts = before.firsts if before else {}
        for funnel in plan.funnels:
            stage, at = event[funnel.stage], event[funnel.at]
            if stage not in funnel.stages:
                continue
            reached = firsts.get(funnel.name, {})
            first = reached.get(stage)
            if first is not None and first <= at:
                continue
            if first is not None:
                effects.cells[funnel.name, minute_of(first), "|" + stage] -= 1
            effects.cells[funnel.name, minute_of(at), "|" + stage] += 1
            firsts = {**firsts, funnel.name: {**reached, stage: at}}
        if before is None or firsts is not before.firsts:
            effects.places[where] = Facts(firsts)

"""Commits runs of admitted verdicts: load what they depend on, fold, refuse conflicts, one compare-and-set."""

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Message

from infra.failpoints import Failpoints
from serving.fold.fold import CONFLICT, Effects, Fold
from serving.fold.newest import newest_operations
from serving.fold.state import Known
from serving.materializer.admission import Admission
from serving.materializer.dead_letters import DeadLetters
from serving.materializer.operations import operations
from serving.materializer.prober import Prober
from serving.store.keys import place
from serving.store.store import Argument, Claimed, Operation, Store


class Writer:
    """The one writer of a generation, from one claim to the next."""

    def __init__(
        self,
        store: Store,
        fold: Fold,
        claimed: Claimed,
        prober: Prober,
        letters: DeadLetters,
        failpoints: Failpoints,
    ) -> None:
        self.store, self.fold, self.keys, self.plan = store, fold, fold.keys, fold.plan
        self.epoch = claimed.epoch
        self.newest, self.kafka_time = dict(claimed.newest), claimed.kafka_time
        self.known = Known()
        self._prober, self._letters, self._failpoints = prober, letters, failpoints

    def commit(
        self,
        run: Sequence[Mapping[str, Any]],
        letters: Sequence[Message],
        admission: Admission,
        positions: Mapping[int, int],
    ) -> None:
        """Apply `run`, move the fences over what `admission` says, store the positions in the judged topic.

        Before that, `letters` go to the dead letters, with those for conflicts that the fold finds.

        Raises Lost, after which only a new claim helps.
        """
        self._load(run)
        effects = self.fold.fold(run, self.known.found)
        if letters or effects.conflicts:
            self._failpoints.hit("materializer.before_dead_letters")
            self._letters.write(letters, [self._prober.record(*at) for at in effects.conflicts], CONFLICT)
            self._failpoints.hit("materializer.after_dead_letters")
        for at, count in admission.empty.items():
            effects.counts[f"{place(*at)}/empty"] += count
        newest, kafka_time = merged(self.newest, effects.newest), max(self.kafka_time, effects.kafka_time)
        changes = operations(effects, self.plan, self.keys, newest, kafka_time)
        changes.append(("S", self.keys.meta, self._meta(effects, newest, kafka_time, admission)))
        changes.append(("S", self.keys.judged, [part for pair in positions.items() for part in pair]))
        changes += self._holds(admission)
        position = sum(admission.next.values())
        changes += newest_operations(run, effects.outcomes, letters, position, self.keys)
        self._failpoints.hit("materializer.before_commit")
        self.store.commit(self.epoch, admission.ranges(), changes)
        self._failpoints.hit("materializer.after_commit")
        self.newest, self.kafka_time = newest, kafka_time
        self.known.update(effects.places)
        admission.settle()

    def _load(self, run: Sequence[Mapping[str, Any]]) -> None:
        """Make known what the run depends on."""
        missing = self.known.missing(where for verdict in run for where in self.fold.places(verdict))
        for where, value in zip(missing, self.store.fetch(missing), strict=True):
            self.known.learn(where, value)

    def _meta(
        self, effects: Effects, newest: Mapping[str, int], kafka_time: int, admission: Admission
    ) -> list[Argument]:
        fields: list[Argument] = ["kafka_time", kafka_time]
        if effects.newest:
            for topic in ("", *effects.newest):
                fields += (f"newest:{topic}" if topic else "newest", newest[topic])
        if effects.dimensions:
            # The attributes are a function of these offsets, so they name their version: after a rebuild too.
            topics = {dimension.of for dimension in self.plan.dimensions.values()}
            offsets = sorted((at, offset) for at, offset in admission.next.items() if at[0] in topics)
            fields += ("dims", ",".join(f"{place(*at)}:{offset}" for at, offset in offsets))
        return fields

    def _holds(self, admission: Admission) -> list[Operation]:
        if not admission.holds_changed:
            return []
        found: list[Operation] = []
        if admission.released:
            found.append(("D", self.keys.held, [place(*at) for at in admission.released]))
        if admission.held:
            held = [part for at, reason in admission.held.items() for part in (place(*at), reason)]
            found.append(("S", self.keys.held, held))
        return found


def merged(newest: Mapping[str, int], of_run: Mapping[str, int]) -> dict[str, int]:
    """The newest event times by topic, and under "" of all."""
    found = {**newest, **{topic: max(at, newest.get(topic, 0)) for topic, at in of_run.items()}}
    found[""] = max([newest.get("", 0), *of_run.values()])
    return found

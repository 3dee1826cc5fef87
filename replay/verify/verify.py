"""Verify the lake at its newest manifest: each table against the second computation, each count against the records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from infra.failpoints import Failpoints
from infra.generation import current_generation
from infra.registry import RegisteredSchema
from infra.settings import Settings
from replay.verify.compare import Difference, compare
from replay.verify.gold import recompute_gold
from replay.verify.recompute import recompute
from schemas.contract import CONTRACTS
from schemas.errors import GenerationError
from schemas.tables import QUARANTINE, silver
from serving.lake.views import connect, quoted
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root
from streams.lake.store import LakeStore
from streams.plain_judge import PlainJudge

# Which of these is said of damaged bytes depends on how far a decoder gets.
DAMAGED = frozenset(("undecodable", "not_canonical", "invalid_utf8"))


@dataclass(frozen=True)
class Verdict:
    """What came of it."""

    manifest: Manifest
    differences: tuple[Difference, ...]

    @property
    def exact(self) -> bool:
        return all(difference.equal for difference in self.differences)


def verify(settings: Settings, schemas: Mapping[str, Sequence[RegisteredSchema]]) -> Verdict:
    """Compute the lake's tables again from bronze and compare. Raises GenerationError if there is no lake."""
    generation = current_generation(settings).name
    root, manifest = lake_root(settings, generation), newest_manifest(settings, generation)
    if manifest is None:
        raise GenerationError(f"expected a lake at {root} and found none: run `dataflow up`, which fills it")
    # As the lake knew them: what is registered since was unknown to it.
    known = {
        topic: [each for each in schemas[topic] if each.schema_id in manifest.schemas.get(topic, ())]
        for topic in CONTRACTS
    }
    with connect(root, manifest) as lake:
        again = recompute(lake, PlainJudge(known, settings.max_event_bytes))
        differences = [
            compare(
                topic,
                lake.execute(f"SELECT * FROM {quoted(silver(contract).name)}").fetchall(),
                again.rows[topic],
            )
            for topic, contract in CONTRACTS.items()
        ]
        differences += [
            compare(name, lake.execute(f"SELECT * FROM {quoted(name)}").fetchall(), rows)
            for name, rows in recompute_gold(again, settings.shop_timezone).items()
        ]
        refused = lake.execute(
            f'SELECT topic, partition, "offset", reasons FROM {QUARANTINE.name}'
        ).fetchall()
        rows = [(*row[:3], _reasons(row[3])) for row in refused]
        wanted = [(*row[:3], _reasons(row[3])) for row in again.refused]
        differences.append(compare(QUARANTINE.name, rows, wanted))
        differences.append(compare("counts", manifest.counts.items(), again.counts.items()))
    return Verdict(manifest, tuple(differences))


def newest_manifest(settings: Settings, generation: str) -> Manifest | None:
    """What the lake of a generation holds; None if there is none."""
    store = LakeStore(lake_root(settings, generation), Failpoints(settings))
    try:
        return store.newest_manifest()
    finally:
        store.close()


def _reasons(reasons: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted("damaged" if reason in DAMAGED else reason for reason in reasons))

"""The manifest: what a batch leaves behind as its last act, and the only thing that says what the lake holds.

A table's rows beyond the version that the newest manifest names do not exist: a batch that died half-way wrote them,
and the next driver takes them back. Reads and writes the Delta table `_manifests`, one commit a manifest.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Self

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from infra.generations import Generation
from infra.kafka import Offsets
from streams.lake.place import MANIFESTS

RECENT_COMMITS = 20


@dataclass(frozen=True)
class Manifest:
    """The lake after a batch. Everything in it is a function of the source topics up to `until`."""

    number: int  # of the batch; 0 is the empty lake
    generation: str
    until: Offsets  # next offset to read of each source partition
    tables: Mapping[str, int]  # Delta version of each table
    counts: Mapping[str, int] = field(default_factory=dict)  # records so far, by topic/partition/outcome
    topics: Mapping[str, str] = field(default_factory=dict)  # id of each source topic
    schemas: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # ids that were known
    code: str = ""  # digest of contracts, rules and tables
    definition: Mapping[str, str] = field(default_factory=dict)  # what must not change, by what it is
    newest: Mapping[str, int] = field(default_factory=dict)  # topic → newest event time (µs)
    kafka_time: int = 0  # newest broker time of a record (µs)
    folded: Mapping[str, int] = field(default_factory=dict)  # rows of a keyed table when it was folded last
    begins: int = 0  # of a clone: its first number; those below only say what was known when

    def since(self, generation: Generation) -> Offsets:
        """Where the next batch begins."""
        return {place: self.until.get(place, generation.start(*place)) for place in generation.partitions()}

    def to_json(self) -> str:
        body = asdict(self) | {
            "until": {f"{topic}/{p}": offset for (topic, p), offset in sorted(self.until.items())}
        }
        if not self.begins:
            del body["begins"]  # code that knows nothing of clones reads it, too
        return json.dumps(body, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        body = json.loads(text)
        until = {}
        for place, offset in body["until"].items():
            topic, _, partition = place.rpartition("/")
            until[topic, int(partition)] = offset
        schemas = {topic: tuple(ids) for topic, ids in body["schemas"].items()}
        known = {each.name for each in fields(cls)}
        body = {name: value for name, value in body.items() if name in known}  # newer code may say more
        return cls(**body | {"until": until, "schemas": schemas})


def note_of(manifest: Manifest, since: Offsets) -> dict[str, str]:
    """What each commit of a batch says of itself: the generation, the batch, and by partition the offsets that it
    covers, from (`since`, of the manifest before) to before.
    """
    offsets = {f"{t}/{p}": [since.get((t, p), 0), until] for (t, p), until in sorted(manifest.until.items())}
    return {
        "generation": manifest.generation,
        "batch": str(manifest.number),
        "offsets": json.dumps(offsets, separators=(",", ":")),
    }


def newest_manifest(root: str) -> Manifest | None:
    """What the lake under `root` holds; None if there is no lake yet, or none that its founder finished."""
    try:
        return manifest_of(DeltaTable(f"{root}/{MANIFESTS}"))
    except TableNotFoundError:
        return None


def manifest_of(log: DeltaTable) -> Manifest | None:
    """The newest in the table `_manifests`."""
    # The newest commits that are no manifest are the log's own, such as a checkpoint's, or upkeep.
    for limit in (RECENT_COMMITS, None):
        for commit in log.history(limit):
            if "manifest" in commit:
                return Manifest.from_json(commit["manifest"])
    return None

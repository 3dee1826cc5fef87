"""A lake of which a part is gone: founded anew over what is left it would be empty, and nobody would have said so.

Reads what the tables' logs say; writes nothing.
"""

from collections.abc import Mapping

from deltalake import DeltaTable

from schemas.errors import GenerationError
from schemas.tables import TABLES
from streams.lake.manifest import Manifest
from streams.lake.place import MANIFESTS

RECENT_COMMITS = 50
WAYS_OUT = (
    "Look whether it is mounted, and whether LAKE_URI names the right place; bring back what is missing, from a "
    "backup for example; or `dataflow generation new` fills a new lake from the beginning of the topics"
)


class LostLake(GenerationError):
    """Batches were finished, and what they wrote is not there, or not all of it."""


def expect_all(tables: Mapping[str, DeltaTable], manifest: Manifest | None, root: str) -> None:
    """Raise LostLake if batches are in the tables that no manifest knows, or a manifest knows more than is there.

    `tables` are those that exist.
    """
    if manifest is None:
        filled = [name for name, table in tables.items() if name != MANIFESTS and _finished(table, tables)]
        if filled:
            raise LostLake(
                f"expected manifests beside the tables at {root}, and there are none, while {', '.join(filled)} have "
                f"rows. {WAYS_OUT}"
            )
        return
    lost = [
        name
        for name, version in manifest.tables.items()
        if name in TABLES and (name not in tables or tables[name].version() < version)
    ]
    if lost:
        raise LostLake(
            f"expected at {root} what manifest {manifest.number} names, and {', '.join(lost)} are missing or older "
            f"than that. {WAYS_OUT}"
        )


def _finished(table: DeltaTable, tables: Mapping[str, DeltaTable]) -> bool:
    """Whether a batch of the table had a manifest. The first one may have died before it."""
    if MANIFESTS not in tables:
        # It is made last, and before any batch.
        return table.version() > 0
    return any(int(commit.get("batch", 0)) > 1 for commit in table.history(RECENT_COMMITS))

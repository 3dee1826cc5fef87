"""Whether the disk has room for the rows of two generations, which are written out before they are compared.

Reads the logs of both lakes' tables.
"""

import shutil
from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable

from infra.settings import Settings
from replay.diff.errors import NotComparable
from schemas.tables import TABLES
from serving.lake.reader import Lake
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root

SPARE = 1.5  # what compares them writes, too


def check_room(
    settings: Settings, manifests: Sequence[Manifest], names: frozenset[str] = frozenset()
) -> None:
    """Raise NotComparable if there is none; `names` are the tables and metrics that were asked for, none: all."""
    wanted = int(SPARE * sum(written(settings, manifest, names) for manifest in manifests))
    free = shutil.disk_usage(settings.state_dir).free
    if free < wanted:
        raise NotComparable(
            f"expected {wanted / 1e9:,.1f} GB of room for the rows of both in {settings.state_dir}, and "
            f"{free / 1e9:,.1f} GB are free: compare less, with --table or --metric, or make room; `dataflow replay "
            "gc` removes generations that nobody needs"
        )


def written(settings: Settings, manifest: Manifest, names: frozenset[str] = frozenset()) -> int:
    """Bytes of the tables that are written out: those in `names`, and of silver all where a metric is among them."""
    only_tables = bool(names) and names <= TABLES.keys()
    lake, size = Lake(lake_root(settings, manifest.generation)), 0
    for table in TABLES.values():
        wanted = not names or table.name in names or (table.layer == "silver" and not only_tables)
        if table.layer != "bronze" and wanted and table.name in manifest.tables:
            size += _bytes(lake.files(manifest, table))
    return size


def _bytes(table: DeltaTable) -> int:
    sizes = pa.table(table.get_add_actions(flatten=True))["size_bytes"].to_pylist()
    return sum(sizes)

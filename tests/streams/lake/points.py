"""Every failpoint of the lake, by what has to be there for it to be hit."""

import re

from infra.runtime.platform import ROOT
from schemas.tables import TABLES
from streams.lake.place import MANIFESTS

LAYERS = ("bronze", "silver", "gold")
APPENDS = tuple(f"lake.{when}_append_{name}" for name in (*TABLES, MANIFESTS) for when in ("before", "after"))
BATCH = (
    *(f"lake.{when}_{layer}" for layer in LAYERS for when in ("before", "after")),
    *APPENDS,
    "lake.before_manifest",
    "lake.after_manifest",
)
UPKEEP = ("lake.before_upkeep", "lake.before_vacuum", "lake.after_upkeep")
TAKE_BACK = ("lake.before_take_back", "lake.after_take_back")  # where a batch died half-way
NEW_COLUMNS = ("lake.before_new_column", "lake.after_new_column")  # where a contract got some
QUERY = ("lake.before_query", "lake.before_checkpoint", "lake.after_checkpoint")  # where Spark plans batches
# Where the topics no longer hold what comes next; killed in tests/archive/test_jobs.py.
ARCHIVE = ("lake.before_bronze_batches", "lake.after_bronze_batches")
# Where a lake begins as another one's; killed in tests/streams/lake/test_clone.py.
CLONE = (
    "lake.before_link",
    "lake.after_link",
    "lake.before_made_anew",
    "lake.after_made_anew",
    "lake.before_clone_is_there",
    "lake.after_clone_is_there",
)
HALF_WAY = "lake.after_silver"


def in_the_code() -> set[str]:
    """All that the lake's code names."""
    found = set()
    for file in (ROOT / "streams" / "lake").rglob("*.py"):
        for name in re.findall(r'\.hit\(f?"([^"]+)"\)', file.read_text("utf-8")):
            for_layers = [name.replace("{layer}", layer) for layer in LAYERS]
            found |= {each.replace("{name}", table) for each in for_layers for table in (*TABLES, MANIFESTS)}
    return found

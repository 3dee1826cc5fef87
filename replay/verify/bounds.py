"""What a verifier may take of this machine, and what it says when that is not enough.

Its databases put what does not fit into memory into a directory of its own, see `replay.scratch`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from deltalake.exceptions import DeltaError

from infra.settings import Settings
from schemas.errors import Unavailable
from serving.lake.trouble import Trouble, said, trouble

MEMORY = "1GB"  # for each of two databases: the oracle's own, and the one that bronze is read with
SCRATCH = "verifier"


def bounds(spill: Path) -> dict[str, Any]:
    """What a database may take; `spill` is its own: two would take each other's files for theirs."""
    return {"memory_limit": MEMORY, "temp_directory": str(spill), "threads": 1}


@contextmanager
def told(settings: Settings) -> Iterator[None]:
    """Raises Unavailable for too little memory, no room on the disk, and files that are gone or cannot be read."""
    try:
        yield
    except duckdb.Error as error:
        if (found := trouble(error)) is None:
            raise
        raise _unavailable(settings, found, error) from error
    except DeltaError as error:
        raise _unavailable(settings, Trouble.GONE, error) from error
    except OSError as error:
        raise _unavailable(settings, Trouble.DISK, error) from error


def _unavailable(settings: Settings, found: Trouble, error: Exception) -> Unavailable:
    place = settings.state_dir / SCRATCH
    match found:
        case Trouble.GONE:
            expected = "the files of the lake that its manifest names"
            seen, then = "some were removed meanwhile", "try again, which reads a newer one"
        case Trouble.MEMORY:
            expected = f"{MEMORY} of memory, and what the disk has room for in {place}, to be enough"
            seen, then = "they were not", "make room on that disk, then try again"
        case Trouble.DISK:
            expected = f"to read the lake and to write to {place}"
            seen, then = "a file could not be read or written", "see whether the disk is full, then try again"
    return Unavailable(f"expected {expected}, and {seen} ({said(error)}): {then}")

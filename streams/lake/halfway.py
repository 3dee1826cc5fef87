"""What a driver of the lake does when something fails half-way: it ends, and the next one goes on from the manifest.

Tried again in the same process, a batch would be appended twice, or be folded by what this process no longer knows
rightly.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import DeltaError
from polars.exceptions import PanicException

from schemas.errors import DataflowError, Transient
from schemas.extension import one_line

NEXT = "This driver stops, and the next one takes back what it left and goes on"
AGAIN = f"{NEXT}; if that fails too, look at where the lake lies (room, rights, connection)"


class Fenced(DataflowError, Transient):
    """Another driver writes to this lake."""


class Unfinished(DataflowError, Transient):
    """Something has failed half-way, for want of room, of memory or of an answer."""


@contextmanager
def written(what: str, root: str) -> Iterator[None]:
    """Raise Unfinished if the lake at `root` cannot be read or written in the block."""
    try:
        yield
    except (OSError, DeltaError) as error:
        raise Unfinished(f"could not write {what} to {root}: {one_line(error)}. {AGAIN}") from error


@contextmanager
def whole(what: str) -> Iterator[None]:
    """Raise Unfinished if anything at all fails in the block, which is not to be tried again in this process."""
    try:
        yield
    except DataflowError:
        raise
    # A panic of polars is no Exception.
    except (Exception, PanicException) as error:
        raise Unfinished(
            f"expected {what} to be finished, and it failed half-way: {type(error).__name__}: {one_line(error)}. "
            f"{NEXT}; if that fails too, look into the log of the process `lake`"
        ) from error

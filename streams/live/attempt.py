"""Where the live query keeps its checkpoint, and from which offsets a checkpoint began.

A request to repeat starts a new attempt: a fresh checkpoint with explicit offsets. So does a start when more is applied
than the checkpoint holds: Real-Time Mode commits seldom. The pointer to it is written before the query starts, so that
a crash in between starts the same attempt again.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.kafka import Offsets


@dataclass(frozen=True)
class Attempt:
    """One checkpoint's life. `starting` is None where it began at the beginning of the topics."""

    number: int
    starting: Offsets | None

    def checkpoint(self, directory: Path) -> Path:
        return directory / f"live-{self.number}"


def load_attempt(directory: Path) -> Attempt:
    """The current attempt; the first one where nothing is recorded."""
    try:
        found = json.loads((directory / "live.json").read_text("utf-8"))
    except FileNotFoundError:
        return Attempt(1, None)
    starting = found["starting"]
    return Attempt(found["number"], starting and {(t, p): offset for t, p, offset in starting})


def store_attempt(directory: Path, attempt: Attempt) -> None:
    """Make `attempt` the current one, atomically and durably."""
    starting = attempt.starting and [[t, p, offset] for (t, p), offset in attempt.starting.items()]
    directory.mkdir(parents=True, exist_ok=True)
    scratch = directory / "live.json.new"
    with scratch.open("w", encoding="utf-8") as out:
        json.dump({"number": attempt.number, "starting": starting}, out)
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(directory / "live.json")


def committed_at(directory: Path, attempt: Attempt) -> float | None:
    """When (epoch seconds) the attempt last committed its offsets; 0 if it only began, None if it never did."""
    checkpoint = attempt.checkpoint(directory)
    if not checkpoint.exists():
        return None
    return max((path.stat().st_mtime for path in checkpoint.glob("commits/[0-9]*")), default=0.0)


def remove_other_checkpoints(directory: Path, attempt: Attempt) -> None:
    """Remove what attempts before this one have left behind."""
    for path in directory.glob("live-*"):
        if path != attempt.checkpoint(directory):
            shutil.rmtree(path, ignore_errors=True)


def starting_offsets(
    partitions: Iterable[tuple[str, int]], wanted: Offsets, first: Offsets, end: Offsets
) -> Offsets:
    """Where to start so that everything `wanted` comes again: an offset for every partition, none out of its range.

    Spark takes either all partitions of a topic or none, and fails on an offset that the log does not have. A
    partition that nobody asked for starts at its first record: a repeat does no harm, a gap would.
    """
    return {
        place: min(max(wanted.get(place, first[place]), first[place]), end[place]) for place in partitions
    }

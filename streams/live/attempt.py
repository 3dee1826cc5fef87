"""Where the live query keeps its checkpoint, and from which offsets a checkpoint began.

A request to repeat starts a new attempt: a fresh checkpoint with explicit offsets. So does a start when more is applied
than the checkpoint holds: Real-Time Mode commits seldom. The pointer to it is written before the query starts, so that
a crash in between starts the same attempt again.
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.generations import Generation
from infra.kafka import Offsets

OVERLAP = 100  # offsets: of one or two there may be none but the marks of transactions


@dataclass(frozen=True)
class Attempt:
    """One checkpoint's life. `starting` is where it has to judge from, None where that is the beginning of all.

    It moves on with what is judged out of bronze, before the query with the checkpoint starts behind that.
    """

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
    newest = 0.0
    for path in checkpoint.glob("commits/[0-9]*"):
        with suppress(FileNotFoundError):  # Spark removes old ones
            newest = max(newest, path.stat().st_mtime)
    return newest


def remove_other_checkpoints(directory: Path, attempt: Attempt) -> None:
    """Remove what attempts before this one have left behind."""
    for path in directory.glob("live-*"):
        if path != attempt.checkpoint(directory):
            shutil.rmtree(path, ignore_errors=True)


def starting_offsets(generation: Generation, wanted: Offsets, first: Offsets, end: Offsets) -> Offsets:
    """From where on to judge so that everything `wanted` comes again: an offset for every partition.

    `first` and `end` are where the topics begin and end. An offset may be one that Kafka no longer has. A partition
    that nobody asked for starts at its beginning: a repeat does no harm, a gap would. No offset is behind the `end` of
    its partition: Spark fails on one that the log does not have.
    """
    if generation.lake_first:
        wanted = overlapping(wanted, first)
    found = {}
    for at in generation.partitions():
        begin = generation.start(*at)
        found[at] = min(max(wanted.get(at, begin), begin), end[at])
    return found


def overlapping(wanted: Offsets, first: Offsets) -> Offsets:
    """A few records before `wanted`, of those that the topics hold.

    Their verdicts count no second time, and show at once that a job gives some whose generation was filled out of its
    lake: also while no event comes.
    """
    begins = {at: first.get(at, 0) for at in wanted}
    return {
        at: max(begins[at], offset - OVERLAP) if offset > begins[at] else offset
        for at, offset in wanted.items()
    }

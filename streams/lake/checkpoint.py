"""The lake query's checkpoint: where each of its batches ends, and what to do when it is gone.

Spark writes a batch's end offsets before the batch runs. The manifest says how far the lake is, so a checkpoint that is
older or newer than the lake does no harm; one that is gone altogether is for a person to decide on.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.generations import Generation
from infra.kafka import Offsets
from infra.settings import Settings
from schemas.errors import DataflowError, GenerationError, Transient
from streams.lake.lost import WAYS_OUT, LostLake
from streams.lake.manifest import Manifest

RESUME = "resume"


class LostCheckpoint(GenerationError):
    """The lake has batches, and the checkpoint of the query that wrote them is gone."""


class Occupied(DataflowError, Transient):
    """Another driver of this generation's lake runs."""


class Checkpoint:
    """The checkpoint directory of one generation's lake query."""

    def __init__(self, settings: Settings, generation: str) -> None:
        self._home = settings.state_dir / "checkpoints" / f"{generation}-lake"
        self.directory: Path = self._home / "query"
        self.size: Path = self._home / "batch_records"  # see `streams.lake.size`

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one driver on this machine's checkpoint. Raises Occupied while another one is.

        It spares a second driver its work; what keeps the tables right is that each commit is a compare-and-set.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / "lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise Occupied(
                    f"expected to be the one driver of the lake of this generation, and process {file.read()} is: "
                    "stop that one first; this one tries again"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def check(self, manifest: Manifest) -> None:
        """Raise LostCheckpoint if the lake is not empty and Spark would begin at the beginning."""
        if (self._home / RESUME).exists():
            shutil.rmtree(self.directory, ignore_errors=True)  # a kill may have spared it
        elif manifest.number and not any(self.directory.glob("offsets/[0-9]*")):
            raise LostCheckpoint(
                f"expected the checkpoint that wrote batch {manifest.number} of the lake in {self.directory}, and "
                "found none. Two ways out: `dataflow lake resume` goes on from the offsets that the lake's own "
                "manifest names (nothing is read twice, nothing is skipped); `dataflow generation new` starts "
                "over from the beginning of the topics"
            )

    def expect_no_batch(self, root: str, generation: Generation, prefix: str) -> None:
        """Raise LostLake if Spark has finished batches of any record: there is no lake at `root` that has them.

        A query that begins before there is a record finishes a batch of none.
        """
        finished = [int(file.name) for file in self.directory.glob("commits/[0-9]*")]
        if finished and any(
            end > generation.start(*at) for at, end in self.batch_end(max(finished), prefix).items()
        ):
            raise LostLake(
                f"expected the lake that the checkpoint in {self.directory} belongs to at {root}, and there is none. "
                f"{WAYS_OUT}"
            )

    def is_ahead(self, since: Offsets, prefix: str) -> bool:
        """Whether Spark has finished a batch behind `since`, where the next one has to begin: it would skip some.

        As where a lake comes out of a backup, and where a partition was added that its driver did not know of.
        """
        finished = [int(file.name) for file in self.directory.glob("commits/[0-9]*")]
        return bool(finished) and any(
            end > since.get(at, end) for at, end in self.batch_end(max(finished), prefix).items()
        )

    def begun(self) -> None:
        """Spark has planned a batch: from here on the checkpoint says where to go on, and no `resume` does."""
        (self._home / RESUME).unlink(missing_ok=True)

    def resume(self) -> None:
        """Let the next query begin a new checkpoint where the manifest is; that holds until it has planned a batch."""
        self._home.mkdir(parents=True, exist_ok=True)
        (self._home / RESUME).touch()
        shutil.rmtree(self.directory, ignore_errors=True)

    def batch_end(self, batch_id: int, prefix: str) -> Offsets:
        """The offsets that a batch of the query ends before, by topic name without prefix."""
        text = (self.directory / "offsets" / str(batch_id)).read_text("utf-8")
        by_topic = json.loads(text.splitlines()[-1])
        return {
            (name.removeprefix(prefix), int(partition)): offset
            for name, offsets in by_topic.items()
            for partition, offset in offsets.items()
        }

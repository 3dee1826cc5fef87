"""What can be put under test: something that evaluates the source topics, and can be killed and started again.

The live path is one, in processes (`live`) or in this process (`offline`); whatever else evaluates topics can be one,
so that the same inputs, with the same crashes in them, can be put to it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dataflow.testing.judge import Verdict
from dataflow.testing.records import Letter

if TYPE_CHECKING:
    from dataflow.testing.stream import Stream

Row = dict[str, Any]
Where = Mapping[str, str | Sequence[str | None] | None]


class Pipeline(Protocol):
    """An evaluation of the source topics. What it has made durable outlives `kill`, nothing else does."""

    kills: int
    "How often it was killed."

    def start(self) -> None:
        """Start, or start again where it stood; returns once it works."""

    def stop(self) -> None:
        """End it in an orderly way."""

    def kill(self) -> None:
        """End it as a crash does, in the middle of what it does now. It stays down until `start`."""

    def arm(self, failpoint: str) -> None:
        """Have it die at a failpoint (`name`, or `name:2` for the second hit) while it works on what comes now."""

    def died(self, timeout: float = 60.0) -> None:
        """Wait until the failpoint that it is armed with has killed it. AssertionError if nothing comes there."""

    def settled(self, timeout: float = 60.0) -> None:
        """Wait until everything that the source topics hold now is evaluated. AssertionError if it is not."""


class Numbers(Pipeline, Protocol):
    """A pipeline that counts metrics, as the live path does."""

    stream: "Stream"
    "What produces to the topics that it evaluates."

    def rows(
        self, metric: str, grain: str = "all", by: str | Sequence[str] = (), where: Where | None = None
    ) -> list[Row]:
        """A metric's rows, as REST answers them: all buckets of `grain`, split by dimensions, oldest first.

        `where` keeps the rows whose dimension has the value, or one of the values; None stands for null.
        """

    def verdicts(self, topic: str | None = None) -> list[Verdict]:
        """The judge's verdict on each record, by place. A conflict of versions, too, is accepted by the judge."""

    def dead_letters(self, topic: str | None = None) -> list[Letter]:
        """The dead letter of each refused record, by place."""

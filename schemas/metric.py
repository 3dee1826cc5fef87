"""What a metric is: the vocabulary in which `schemas/metrics.py` declares them. Data only; evaluators live elsewhere.

A metric is a function of the latest version of each entity (or of each fact) and of nothing else, so a cancellation, a
correction or a late event simply moves the number to what it should be. Every evaluator (the live fold, the
test oracle, later gold) reads these declarations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.contract import CONTRACTS, Contract

Unit = Literal["money", "count", "ratio"]
GRAINS = ("minute", "hour", "day", "all")


@dataclass(frozen=True)
class Count:
    """How many rows there are, of those for which `where` is true."""

    name: str
    doc: str
    where: str | None = None
    unit: Unit = "count"

    @property
    def expression(self) -> str:
        return "1"


@dataclass(frozen=True)
class Sum:
    """The exact sum of `expression` over the rows for which `where` is true."""

    name: str
    expression: str
    doc: str
    where: str | None = None
    unit: Unit = "money"


@dataclass(frozen=True)
class Derived:
    """A figure computed from a metric's measures when it is read. `a / b` is half-even and null where b is 0."""

    name: str
    expression: str
    doc: str
    unit: Unit


@dataclass(frozen=True)
class Rollup:
    """A dimension that is looked up in another entity's current row when the metric is read.

    So a corrected category moves its whole history at once. `unknown` stands where there is no such row.
    """

    name: str
    through: str  # dimension of the metric that holds the id
    dimension: str  # name of the `Dimension`


@dataclass(frozen=True)
class Dimension:
    """Attributes of an entity's current row that reads join to; kept small and never baked into an aggregate."""

    name: str
    of: str
    attributes: tuple[str, ...]

    @property
    def contract(self) -> Contract:
        return CONTRACTS[self.of]


@dataclass(frozen=True)
class Metric:
    """Sums and counts over the rows of `of`, by time bucket of column `at` and by the columns `by`."""

    name: str
    doc: str
    of: str
    at: str
    measures: tuple[Sum | Count, ...]
    by: tuple[str, ...] = ()
    derived: tuple[Derived, ...] = ()
    rollups: tuple[Rollup, ...] = ()

    @property
    def contract(self) -> Contract:
        return CONTRACTS[self.of]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the row that the metric depends on, in the contract's order."""
        text = " ".join([m.expression + " " + (m.where or "") for m in self.measures])
        used = {self.at, *self.by}
        return tuple(name for name in self.contract.fields if name in used or name in _words(text))


@dataclass(frozen=True)
class Funnel:
    """Distinct `key`s that reached each stage, each counted once, in the bucket of its first event of that stage."""

    name: str
    doc: str
    of: str
    at: str
    key: str
    stage: str
    stages: tuple[str, ...]
    derived: tuple[Derived, ...] = ()
    by: tuple[str, ...] = ()
    rollups: tuple[Rollup, ...] = ()

    @property
    def measures(self) -> tuple[Count, ...]:
        return tuple(Count(name, f"Distinct {self.key} that reached {name}.") for name in self.stages)


@dataclass(frozen=True)
class Active:
    """Distinct values of each column that had an event within `within_micros` of now, or is ahead of it.

    Now is the newest event time of `of`, or the broker's newest time if that is earlier: one event of a clock that is
    ahead must not end everybody else's session.
    """

    name: str
    doc: str
    of: str
    at: str
    keys: Mapping[str, str] = field(default_factory=dict)  # measure → column
    within_micros: int = 0

    @property
    def measures(self) -> tuple[Count, ...]:
        return tuple(
            Count(name, f"Distinct {column} within the window.") for name, column in self.keys.items()
        )


@dataclass(frozen=True)
class Verdicts:
    """How many source records were judged and how, by topic and by the minute in which the broker took them."""

    name: str
    doc: str
    measures: tuple[Count, ...]
    derived: tuple[Derived, ...] = ()
    by: tuple[str, ...] = ("topic",)
    rollups: tuple[Rollup, ...] = ()


AnyMetric = Metric | Funnel | Active | Verdicts


def _words(sql: str) -> set[str]:
    return set("".join(c if c.isalnum() or c == "_" else " " for c in sql).split())

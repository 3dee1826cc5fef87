"""What a comparison of two extracts says, as immutable values. Money is Decimal, counts are int; differences are exact.

Whatever has two sides is of one generation and of the other, in this order. A difference is the other's less the one's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from typing import Any, Literal

from infra.kafka import Offsets

# Sums have 38 digits; the default context would round them at 28.
EXACT = Context(prec=80)

Change = Literal["changed", "only_one", "only_other"]


@dataclass(frozen=True)
class Total:
    """The sum of a column on both sides."""

    column: str
    unit: str
    one: Decimal | int
    other: Decimal | int

    @property
    def difference(self) -> Decimal | int:
        if isinstance(self.one, int) and isinstance(self.other, int):
            return self.other - self.one
        return EXACT.subtract(Decimal(self.other), Decimal(self.one))


@dataclass(frozen=True)
class Tally:
    """Rows on both sides, and what became of them."""

    one: int
    other: int
    only_one: int = 0
    only_other: int = 0
    changed: int = 0

    @property
    def equal(self) -> int:
        """Rows that are the same on both sides."""
        return self.one - self.only_one - self.changed

    @property
    def all(self) -> int:
        """Rows on either side, those of one key counted once."""
        return self.one + self.only_other

    @property
    def differing(self) -> int:
        return self.only_one + self.only_other + self.changed


@dataclass(frozen=True)
class DayDifference:
    """A day with a difference (None: rows without one). A row that moved to another day counts as changed on both."""

    day: date | None
    tally: Tally
    totals: tuple[Total, ...]


@dataclass(frozen=True)
class Example:
    """A row that differs. Of a changed one the columns that differ, else all; personal data is masked."""

    change: Change
    key: Mapping[str, Any]
    one: Mapping[str, Any] | None
    other: Mapping[str, Any] | None


@dataclass(frozen=True)
class Declared:
    """What is declared in another way; nothing of it is a difference between rows.

    `key`: what names a row, on both sides, where that differs. `types` and `defined`: a column, and what each says.
    """

    only_one: tuple[str, ...] = ()
    only_other: tuple[str, ...] = ()
    key: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    types: tuple[tuple[str, str, str], ...] = ()
    defined: tuple[tuple[str, str, str], ...] = ()
    summed_up: bool = False  # a metric: compared by the dimensions that both have
    not_compared: tuple[str, ...] = ()  # figures that follow from others, and do not add up

    @property
    def reshaped(self) -> bool:
        """Whether one side has columns that the other has not."""
        return bool(self.only_one or self.only_other or self.key)


@dataclass(frozen=True)
class RelationDifference:
    """A table or a metric on both sides. `columns`: of the changed rows, how many differ in which column."""

    kind: Literal["table", "metric"]
    name: str
    title: str
    doc: str
    tally: Tally
    declared: Declared = Declared()
    columns: tuple[tuple[str, int], ...] = ()
    totals: tuple[Total, ...] = ()
    days: tuple[DayDifference, ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def equal(self) -> bool:
        return not self.tally.differing and not self.declared.reshaped


@dataclass(frozen=True)
class Only:
    """A table or metric that one side has and the other has not."""

    kind: Literal["table", "metric"]
    name: str
    title: str
    doc: str
    rows: int


@dataclass(frozen=True)
class Side:
    """A generation: at which manifest, by which declarations (their digest), and by which pinned code, if it is.

    `fewer`: how many offsets it has not that the other one has; a trial begins behind them.
    """

    generation: str
    manifest: int
    declarations: str
    code: str | None = None
    live: bool = False
    fewer: int = 0


@dataclass(frozen=True)
class Comparison:
    """Two generations at the same `offsets`. `days`: only these were compared; `left_out` has no days.

    `made_at` is UTC seconds.
    """

    one: Side
    other: Side
    offsets: Offsets
    currency: str
    relations: tuple[RelationDifference, ...]
    only_one: tuple[Only, ...] = ()
    only_other: tuple[Only, ...] = ()
    days: tuple[date, date] | None = None
    left_out: tuple[str, ...] = ()
    settings: tuple[tuple[str, str, str], ...] = ()  # a setting that decides, and what it is on each side
    made_at: float | None = None

    @property
    def records(self) -> int:
        """Offsets below which everything is counted, added up."""
        return sum(self.offsets.values())

    @property
    def differing(self) -> tuple[RelationDifference, ...]:
        return tuple(relation for relation in self.relations if not relation.equal)

    @property
    def equal(self) -> bool:
        """Every row is the same, and neither side has a table, metric or column that the other has not."""
        return not self.differing and not self.only_one and not self.only_other

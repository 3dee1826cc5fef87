"""Two sets of rows, compared in both directions. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

EXAMPLES = 5


@dataclass(frozen=True)
class Difference:
    """How a table's rows differ from those that were computed again; equal if it is empty both ways."""

    table: str
    rows: int
    expected: int
    missing: tuple[tuple, ...]  # rows that were computed again and are not there
    unexpected: tuple[tuple, ...]  # rows that are there and should not be

    @property
    def equal(self) -> bool:
        return not self.missing and not self.unexpected

    def __str__(self) -> str:
        if self.equal:
            return f"{self.table}: {self.rows:,} rows, equal"
        lines = [
            f"{self.table}: {self.rows:,} rows, expected {self.expected:,}; "
            f"{len(self.missing):,} missing, {len(self.unexpected):,} unexpected"
        ]
        lines += [f"  missing    {row}" for row in self.missing[:EXAMPLES]]
        lines += [f"  unexpected {row}" for row in self.unexpected[:EXAMPLES]]
        return "\n".join(lines)


def compare(table: str, actual: Iterable[tuple], expected: Iterable[tuple]) -> Difference:
    """Row by row, as multisets."""
    seen, wanted = Counter(actual), Counter(expected)
    missing, unexpected = (
        tuple(sorted(rows.elements(), key=repr)) for rows in (wanted - seen, seen - wanted)
    )
    return Difference(table, seen.total(), wanted.total(), missing, unexpected)

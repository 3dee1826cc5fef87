"""What a view of the lake is, and the exact arithmetic of its SQL: the vocabulary of `schemas/views.py`. Data only."""

from dataclasses import dataclass, field
from typing import Literal

from schemas.table import Column, Table


@dataclass(frozen=True)
class View:
    """SQL over tables (DuckDB's dialect), asked like a table. Its rows follow from theirs and nothing else: no clock.

    `key` names a row and is never null. `rows_of` is the table for each row of which it has one row, if there is such.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    reads: tuple[str, ...]
    sql: str
    rows_of: str | None = None
    layer: Literal["view"] = field(default="view", init=False)
    topic: None = field(default=None, init=False)


Relation = Table | View

# What the SQL of views may call. DuckDB divides `/` as doubles, which neither hold large money nor round half-even. So
# quotients are made of whole numbers of 128 bits; where the denominator is 0, they are null.
_TWICE = "(2 * abs(numerator::HUGEINT) + denominator::HUGEINT)"
MACROS: dict[str, str] = {
    # A quotient of two whole numbers as a whole number, half-even.
    "half_even(numerator, denominator)": f"""CASE WHEN denominator > 0 THEN sign(numerator) * (
        {_TWICE} // (2 * denominator::HUGEINT)
        - CASE WHEN {_TWICE} % (2 * denominator::HUGEINT) = 0
            AND {_TWICE} // (2 * denominator::HUGEINT) % 2 = 1 THEN 1 ELSE 0 END
    ) END""",
    # Two whole numbers, to six places.
    "ratio(numerator, denominator)": """(
        half_even(numerator::HUGEINT * 1000000, denominator)::DECIMAL(38, 0) * 0.000001::DECIMAL(7, 6)
    )::DECIMAL(18, 6)""",
    # Money in its minor unit.
    "minor(money)": "(money::DECIMAL(38, 2) * 100)::HUGEINT",
    # A whole number of minor units as money.
    "major(amount)": "amount::DECIMAL(38, 0) * 0.01::DECIMAL(3, 2)",
}

"""A part of the benchmark as a value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.render import Table
from tests.bench.stage import Bench

Figures = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """`measure` gives the figures that go into results.json, `tables` shows them; `method` says how they came about.

    `explanation`, if there is one, says where the time goes.
    """

    name: str
    title: str
    method: str
    measure: Callable[[Bench], Figures]
    tables: Callable[[Figures], Sequence[Table]]
    explanation: str = ""

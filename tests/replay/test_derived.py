"""Figures that follow from a metric's measures are computed a second time, in exact fractions."""

import random
from decimal import Decimal

import pytest

from replay.verify.metrics import derived_figures
from schemas.errors import ContractError
from schemas.metric import Count, Derived, Verdicts
from schemas.metrics import METRICS
from serving.read.query import figures


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if getattr(metric, "derived", ())])
def test_both_ways_come_to_the_same(name: str) -> None:
    metric, chance = METRICS[name], random.Random(name)
    for _ in range(2_000):
        minor = {
            m.name: chance.choice((0, 1, chance.randrange(10 ** chance.randrange(1, 12))))
            for m in metric.measures
        }
        told = figures(metric, minor)
        measures = [Decimal(minor[m.name]).scaleb(-2 if m.unit == "money" else 0) for m in metric.measures]
        expected = derived_figures(metric, measures)
        shown = [told[each.name] for each in metric.derived]
        assert [None if each is None else Decimal(str(each)) for each in shown] == list(expected)


def of(expression: str, unit: str = "ratio") -> Verdicts:
    return Verdicts("m", "", (Count("a", ""), Count("b", "")), (Derived("d", expression, "", unit),))


@pytest.mark.parametrize(
    ("expression", "unit", "expected"),
    [
        (" a /\n`b`", "ratio", "0.333333"),
        ("a / b", "ratio", "0.333333"),
        ("(a - b) / (a + b)", "ratio", "-0.5"),
        ("-a * 2 + b", "count", "1"),
        ("a / (b - 3)", "ratio", None),
        ("(a + 4) / (b + 5)", "money", "0.62"),  # 0.625: half to even
    ],
)
def test_it_is_arithmetic(expression: str, unit: str, expected: str | None) -> None:
    [found] = derived_figures(of(expression, unit), (1, 3))
    assert found == (None if expected is None else Decimal(expected))


def test_what_is_no_arithmetic_is_an_error() -> None:
    with pytest.raises(ContractError, match="saw LENGTH"):
        derived_figures(of("length(a)"), (1, 3))


def test_names_are_those_of_sql_and_not_of_python() -> None:
    metric = Verdicts(
        "m", "", (Count("pass", ""), Count("fail", "")), (Derived("d", "pass / (pass + fail)", "", "ratio"),)
    )
    assert derived_figures(metric, (1, 3)) == (Decimal("0.25"),)

"""How large a measure can be: as large as some accepted record makes it, or larger, never less."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bounds import bounds
from schemas.contract import CONTRACTS
from schemas.expression import compile_expression

LINES = CONTRACTS["order_items"]
AMOUNT = st.integers(0, 10**10 - 1).map(lambda minor: Decimal(minor).scaleb(-2))


@pytest.mark.parametrize(
    ("topic", "expression", "least", "most"),
    [
        ("reviews", "rating", 1, 5),
        ("reviews", "-rating * 2", -10, -2),
        ("orders", "total_amount", 0, Fraction("9999999999.99")),
        ("orders", "version", 0, 2**63),
        ("order_items", "quantity * unit_price", 0, Fraction("9999999999.99")),
        ("order_items", "(quantity * unit_price) - discount", Fraction("-99999999.99"), Fraction("9999999999.99")),
        ("order_items", "unit_price * quantity", 0, 2**31 * Fraction("99999999.99")),
        ("reviews", "length(title)", 1, 300),
    ],
)  # fmt: skip
def test_types_attributes_and_rules_bound_it(
    topic: str, expression: str, least: Fraction, most: Fraction
) -> None:
    assert bounds(expression, CONTRACTS[topic]) == (least, most)


@given(st.integers(1, 2**31 - 1), AMOUNT, AMOUNT)
@pytest.mark.parametrize(
    "expression",
    ["quantity * unit_price - discount", "-(quantity - 3) * 2", "unit_price - discount", "discount * -2"],
)
def test_no_accepted_record_is_outside(
    expression: str, quantity: int, unit_price: Decimal, discount: Decimal
) -> None:
    row = {"quantity": quantity, "unit_price": unit_price, "discount": discount}
    scales = dict.fromkeys(LINES.fields, 0)
    accepted = all(
        compile_expression(rule.expression, scales)[0](row) is not False
        for rule in LINES.rules
        if rule.severity == "reject" and any(name in rule.expression for name in row)
    )
    if accepted:
        low, high = bounds(expression, LINES)
        assert low <= Fraction(compile_expression(expression, scales)[0](row)) <= high

"""Arithmetic on exact numbers: add, subtract, multiply, least, greatest, negate, abs, round. Pure.

Decimals are computed with 100 significant digits (see `EXACT`), so nothing is rounded but by `round`.
"""

import decimal
from collections.abc import Callable
from decimal import Decimal
from functools import reduce
from typing import Any

from sources.importer.errors import Where
from sources.importer.expression import NUMBERS, Expression, combine, common_type, lift, require_type

EXACT = decimal.Context(prec=100, traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow])
ROUNDINGS = {
    "half_even": decimal.ROUND_HALF_EVEN,
    "half_up": decimal.ROUND_HALF_UP,
    "half_down": decimal.ROUND_HALF_DOWN,
    "up": decimal.ROUND_UP,
    "down": decimal.ROUND_DOWN,
    "ceiling": decimal.ROUND_CEILING,
    "floor": decimal.ROUND_FLOOR,
}


def _over(name: str, operation: Callable[[Any, Any], Any], types: tuple[str, ...] = NUMBERS):
    """A head over a list of values; null if one of them is null."""

    def head(compiler, spec: dict, where: Where) -> Expression:
        items = spec[name]
        if not isinstance(items, list) or len(items) < 2:
            raise where.error(f"expected a list of two or more values, saw {items!r}")
        parts = [compiler.compile(item, where / i) for i, item in enumerate(items)]
        for i, part in enumerate(parts):
            require_type(part, types, name, where / i)
        evaluators = [part.evaluate for part in parts]
        if len(evaluators) == 2:
            first, second = evaluators

            def evaluate(context: Any) -> Any:
                a = first(context)
                if a is None:
                    return None
                b = second(context)
                return None if b is None else operation(a, b)

        else:

            def evaluate(context: Any) -> Any:
                values = [f(context) for f in evaluators]
                return None if None in values else reduce(operation, values)

        return combine(parts, common_type(parts, where), evaluate)

    return head, ()


def negate(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    return _unary(inner, argument, where, lambda value: -value)


def absolute(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    return _unary(inner, argument, where, abs)


def _unary(inner: Expression, argument: Any, where: Where, operation: Callable[[Any], Any]) -> Expression:
    if argument is not True:
        raise where.error(f"expected `true` (leave the step out otherwise), saw {argument!r}")
    require_type(inner, NUMBERS, "this step", where)
    return lift(inner, inner.type, operation)


def round_(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """`round: 2`, or `{places: 2, mode: half_up}`. The mode is half_even (as the contracts round) unless said."""
    require_type(inner, NUMBERS, "round", where)
    spec = argument if isinstance(argument, dict) else {"places": argument}
    for key in spec:
        if key not in ("places", "mode"):
            raise where.unknown("key", key, ("places", "mode"))
    places, mode = spec.get("places"), spec.get("mode", "half_even")
    if not isinstance(places, int) or isinstance(places, bool) or not 0 <= places <= 20:
        raise where.error(f"expected `places` from 0 to 20, saw {places!r}")
    if mode not in ROUNDINGS:
        raise where.unknown("rounding mode", mode, ROUNDINGS)
    unit, rounding = Decimal(1).scaleb(-places), ROUNDINGS[mode]
    return lift(inner, "decimal", lambda value: Decimal(value).quantize(unit, rounding, EXACT))


HEADS = {
    "add": _over("add", lambda a, b: a + b),
    "subtract": _over("subtract", lambda a, b: a - b),
    "multiply": _over("multiply", lambda a, b: a * b),
    "least": _over("least", min, (*NUMBERS, "timestamp")),
    "greatest": _over("greatest", max, (*NUMBERS, "timestamp")),
}
STEPS = {"negate": negate, "abs": absolute, "round": round_}

"""Conditions and choices: comparisons, all/any/not, if, cases, coalesce, default. Pure.

Null is neither true nor false, as in SQL: a comparison with null is null, and a condition that is null does not hold.
"""

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sources.importer.errors import Where
from sources.importer.expression import (
    NUMBERS,
    Expression,
    as_type,
    combine,
    common_type,
    constant,
    lift,
    require_type,
)


def _operand(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """The right side of a comparison: a literal, or `{from: name}` for another value. It has the left side's type."""
    other = compiler.compile(argument, where) if isinstance(argument, dict) else constant(argument, where)
    if inner.type == "timestamp" and other.is_constant and other.type == "string":
        text = other.evaluate(None)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise where.error(f"expected a time such as 2011-01-01T00:00:00Z, saw {text!r}") from error
        if moment.tzinfo is None:
            raise where.error(f"the time {text!r} needs a zone, such as a Z at its end")
        other = constant(moment, where)
    if other.type == "null":
        raise where.error("nothing compares with null; use `is_null: true` or `is_null: false`")
    same = inner.type in (other.type, "null") or {inner.type, other.type} <= set(NUMBERS)
    if not same:
        raise where.error(f"expected {inner.type} as on the left, saw {other.type}")
    return other


def _comparison(compare: Callable[[Any, Any], bool]):
    def step(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
        other = _operand(compiler, inner, argument, where)
        if other.is_constant:
            value = other.evaluate(None)
            return lift(inner, "bool", lambda left: compare(left, value))
        left_of, right_of = inner.evaluate, other.evaluate

        def evaluate(context: Any) -> bool | None:
            left, right = left_of(context), right_of(context)
            return None if left is None or right is None else compare(left, right)

        return combine([inner, other], "bool", evaluate)

    return step


def one_of(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    if not isinstance(argument, list) or not argument:
        raise where.error(f"expected a list of literals, saw {argument!r}")
    allowed = frozenset(
        _operand(compiler, inner, constant_only(item, where), where / i).evaluate(None)
        for i, item in enumerate(argument)
    )
    return lift(inner, "bool", allowed.__contains__)


def constant_only(item: Any, where: Where) -> Any:
    if isinstance(item, dict | list):
        raise where.error(f"expected a literal, saw {item!r}")
    return item


def is_null(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    if not isinstance(argument, bool):
        raise where.error(f"expected true or false, saw {argument!r}")
    evaluate = inner.evaluate
    return combine([inner], "bool", lambda context: (evaluate(context) is None) is argument)


def null_if(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """Null where the value is one of the literals."""
    items = argument if isinstance(argument, list) else [argument]
    gone = frozenset(
        _operand(compiler, inner, constant_only(item, where), where).evaluate(None) for item in items
    )
    return lift(inner, inner.type, lambda value: None if value in gone else value)


def default(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """A literal, or `{from: name}`, where the value is null."""
    other = compiler.compile(argument, where) if isinstance(argument, dict) else constant(argument, where)
    return _first([inner, other], where)


def coalesce(compiler, spec: dict, where: Where) -> Expression:
    """The first value of a list that is not null."""
    items = spec["coalesce"]
    if not isinstance(items, list) or not items:
        raise where.error(f"expected a list of values, saw {items!r}")
    return _first([compiler.compile(item, where / i) for i, item in enumerate(items)], where)


def _first(parts: list[Expression], where: Where) -> Expression:
    type_ = common_type(parts, where)
    evaluators = [as_type(part, type_).evaluate for part in parts]

    def evaluate(context: Any) -> Any:
        for f in evaluators:
            value = f(context)
            if value is not None:
                return value
        return None

    return combine(parts, type_, evaluate)


def if_(compiler, spec: dict, where: Where) -> Expression:
    if "then" not in spec:
        raise where.error("`if` needs `then` (and may have `else`, which is null otherwise)")
    branches = [
        (compiler.condition(spec["if"], where / "if"), compiler.compile(spec["then"], where / "then"))
    ]
    return _choose(branches, compiler.compile(spec.get("else"), where / "else"), where)


def cases(compiler, spec: dict, where: Where) -> Expression:
    """A list of `{when: condition, then: value}`; the first that holds counts. `else` beside it, null otherwise."""
    items = spec["cases"]
    if not isinstance(items, list) or not items:
        raise where.error("expected a list of {when: condition, then: value}")
    branches = []
    for i, item in enumerate(items):
        if not isinstance(item, dict) or set(item) != {"when", "then"}:
            raise (where / i).error(f"expected {{when: condition, then: value}}, saw {item!r}")
        branches.append(
            (
                compiler.condition(item["when"], where / i / "when"),
                compiler.compile(item["then"], where / i / "then"),
            )
        )
    return _choose(branches, compiler.compile(spec.get("else"), where / "else"), where)


def _choose(branches: list[tuple[Expression, Expression]], otherwise: Expression, where: Where) -> Expression:
    values = [value for _, value in branches] + [otherwise]
    type_ = common_type(values, where)
    steps = [(condition.evaluate, as_type(value, type_).evaluate) for condition, value in branches]
    fallback = as_type(otherwise, type_).evaluate

    def evaluate(context: Any) -> Any:
        for condition, value in steps:
            if condition(context):
                return value(context)
        return fallback(context)

    return combine([*(condition for condition, _ in branches), *values], type_, evaluate)


def _logical(name: str, decides: bool):
    """all (decided by the first false) and any (decided by the first true), with SQL's three values."""

    def head(compiler, spec: dict, where: Where) -> Expression:
        items = spec[name]
        if not isinstance(items, list) or not items:
            raise where.error(f"expected a list of conditions, saw {items!r}")
        parts = [compiler.condition(item, where / i) for i, item in enumerate(items)]
        evaluators = [part.evaluate for part in parts]

        def evaluate(context: Any) -> bool | None:
            result: bool | None = not decides
            for f in evaluators:
                value = f(context)
                if value is decides:
                    return decides
                if value is None:
                    result = None
            return result

        return combine(parts, "bool", evaluate)

    return head, ()


def not_(compiler, spec: dict, where: Where) -> Expression:
    return lift(compiler.condition(spec["not"], where), "bool", operator.not_)


def ordered(compare: Callable[[Any, Any], bool]):
    step = _comparison(compare)

    def checked(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
        require_type(inner, ("string", *NUMBERS, "timestamp"), "an ordering", where)
        return step(compiler, inner, argument, where)

    return checked


HEADS = {
    "if": (if_, ("then", "else")),
    "cases": (cases, ("else",)),
    "coalesce": (coalesce, ()),
    "all": _logical("all", False),
    "any": _logical("any", True),
    "not": (not_, ()),
}
STEPS = {
    "equals": _comparison(operator.eq),
    "not_equals": _comparison(operator.ne),
    "less_than": ordered(operator.lt),
    "at_most": ordered(operator.le),
    "more_than": ordered(operator.gt),
    "at_least": ordered(operator.ge),
    "one_of": one_of,
    "is_null": is_null,
    "null_if": null_if,
    "default": default,
}

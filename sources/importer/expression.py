"""What a compiled value of a mapping is: a function of its context (a line or a group) with a static type. Pure.

Null is None and runs through every operation, as in SQL. Text is never empty: what becomes empty becomes null.
Types are string, int, decimal, timestamp (aware, UTC), bool and null.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sources.importer.errors import LineRefused, Where

Evaluate = Callable[[Any], Any]
NUMBERS = ("int", "decimal")
CACHE_SIZE = 20_000  # values remembered per operation: some 3 MB
CACHED_TEXT = 100  # characters; a longer text hardly comes again


@dataclass(frozen=True)
class Expression:
    """A compiled value. `columns` are the input columns it depends on; `personal`: one of them is personal data."""

    evaluate: Evaluate
    type: str
    columns: frozenset[str] = frozenset()
    is_constant: bool = False
    personal: bool = False

    def folded(self, where: Where) -> "Expression":
        """Itself, computed once if it depends on nothing. Raises MappingError if that fails."""
        if not self.is_constant:
            return self
        try:
            value = self.evaluate(None)
        except LineRefused as refusal:
            raise where.error(refusal.detail) from refusal
        return replace(self, evaluate=lambda context: value)


def constant(value: Any, where: Where) -> Expression:
    """A literal of the mapping."""
    for kind, name in (
        (bool, "bool"),
        (str, "string"),
        (int, "int"),
        (Decimal, "decimal"),
        (datetime, "timestamp"),
        (type(None), "null"),
    ):
        if isinstance(value, kind):
            return Expression(lambda context: value, name, is_constant=True)
    raise where.error(f"expected text, a number, true, false or null, saw {value!r}")


def lift(inner: Expression, type_: str, operation: Callable[[Any], Any]) -> Expression:
    """`operation` over a value that is not null."""
    evaluate = inner.evaluate

    def lifted(context: Any) -> Any:
        value = evaluate(context)
        return None if value is None else operation(value)

    return replace(inner, evaluate=lifted, type=type_)


def combine(parts: list[Expression] | tuple[Expression, ...], type_: str, evaluate: Evaluate) -> Expression:
    """An expression over several others."""
    return Expression(
        evaluate,
        type_,
        frozenset().union(*(part.columns for part in parts)),
        all(part.is_constant for part in parts),
        any(part.personal for part in parts),
    )


def cached(operation: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`operation` with a bounded memory: columns of real files repeat few values. Failures are not remembered."""
    memory: dict[Any, Any] = {}

    def remember(value: Any) -> Any:
        try:
            return memory[value]
        except KeyError:
            result = operation(value)
            if type(value) is str and len(value) > CACHED_TEXT:
                return result
            if len(memory) >= CACHE_SIZE:
                memory.clear()
            memory[value] = result
            return result

    return remember


def require_type(expression: Expression, expected: tuple[str, ...], what: str, where: Where) -> None:
    """Raise MappingError unless `expression` has one of the types (null always fits)."""
    if expression.type not in (*expected, "null"):
        raise where.error(
            f"{what} takes {' or '.join(expected)}; this is {expression.type}{_advice(expression, expected)}"
        )


def _advice(expression: Expression, expected: tuple[str, ...]) -> str:
    if expression.type == "string" and expected[-1] in ("int", "decimal", "timestamp", "bool"):
        return f"; add `cast: {expected[-1]}`" + (" or `time: …`" if expected[-1] == "timestamp" else "")
    return ""


def common_type(parts: list[Expression], where: Where) -> str:
    """The one type of several alternatives; int and decimal make decimal."""
    types = {part.type for part in parts} - {"null"}
    if len(types) <= 1:
        return types.pop() if types else "null"
    if types == {"int", "decimal"}:
        return "decimal"
    raise where.error(
        f"expected values of one type, saw {', '.join(sorted(types))}; use `cast` on one of them"
    )


def as_type(expression: Expression, type_: str) -> Expression:
    """The expression as `type_`, where only int → decimal needs anything done."""
    if expression.type == "int" and type_ == "decimal":
        return lift(expression, "decimal", Decimal)
    return expression


def shown(expression: Expression, value: Any) -> str:
    """A value as a message may show it: personal data is not repeated."""
    return "a value of a personal column" if expression.personal else repr(str(value)[:40])

"""Aggregates over the kept lines of a group: sum, count, first, last, min, max. Pure.

Nulls are left out, as in SQL; over no value at all the result is null, and `count` is 0. The lines stand in the order
of the file.
"""

from collections.abc import Callable
from typing import Any

from sources.importer.errors import LineRefused, Where
from sources.importer.expression import NUMBERS, Expression, require_type


def _aggregate(name: str, reduce: Callable[[list], Any], types: tuple[str, ...] | None = None):
    def head(compiler, spec: dict, where: Where) -> Expression:
        if compiler.lines is None:
            raise where.error(
                f"`{name}` runs over the lines of a group: use it in group.values and in events `per: group`"
            )
        every = name == "count" and spec[name] is True
        inner = None if every else compiler.lines.compile(spec[name], where)
        if inner is not None and types:
            require_type(inner, types, name, where)
        only = compiler.lines.condition(spec["where"], where / "where") if "where" in spec else None

        def evaluate(group: Any) -> Any:
            values = []
            for line in group.lines:
                try:
                    if only is None or only.evaluate(line):
                        value = True if inner is None else inner.evaluate(line)
                        if value is not None:
                            values.append(value)
                except LineRefused as refusal:
                    refusal.line = line
                    raise
            return reduce(values) if values or name == "count" else None

        parts = [part for part in (inner, only) if part is not None]
        columns = frozenset().union(*(part.columns for part in parts))
        type_ = "int" if name == "count" else inner.type
        return Expression(evaluate, type_, columns, personal=any(part.personal for part in parts))

    return head, ("where",)


COMPARABLE = ("string", *NUMBERS, "timestamp")
HEADS = {
    "sum": _aggregate("sum", sum, NUMBERS),
    "count": _aggregate("count", len),
    "first": _aggregate("first", lambda values: values[0]),
    "last": _aggregate("last", lambda values: values[-1]),
    "min": _aggregate("min", min, COMPARABLE),
    "max": _aggregate("max", max, COMPARABLE),
}
STEPS: dict = {}

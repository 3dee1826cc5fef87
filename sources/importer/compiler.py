"""Compile the values of a mapping: YAML nodes to typed expressions. Pure.

A bare word is the name of a column or value; a number, true, false or null is itself; a map is a pipeline: its first
key (the head) says where the value comes from, each further key (a step) changes it, in the order written:
`{from: CustomerID, extract: "^([0-9]+)", cast: int}`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sources.importer.context import MISSING
from sources.importer.errors import Where
from sources.importer.expression import Expression, constant
from sources.importer.operations import aggregates, casts, conditions, names, numbers, tables, text, times

MODULES = (text, casts, times, numbers, conditions, tables, names, aggregates)
STEPS: dict[str, Callable] = {name: step for module in MODULES for name, step in module.STEPS.items()}


class Compiler:
    """Compiles nodes in one scope: the names that may be used there.

    `lines` is the scope of a group's lines where aggregates are allowed, else None.
    """

    def __init__(
        self,
        lookups: Mapping[str, tables.Lookup],
        maker: names.Names,
        scope: Mapping[str, Expression],
        lines: "Compiler | None" = None,
    ) -> None:
        self.lookups = lookups
        self.names = maker
        self.scope = dict(scope)
        self.lines = lines

    def define(self, name: str, expression: Expression) -> None:
        self.scope[name] = expression

    def compile(self, node: Any, where: Where) -> Expression:
        """The expression of a node. Raises MappingError."""
        if isinstance(node, str):
            return self._reference(node, where)
        if isinstance(node, dict):
            return self._pipeline(node, where)
        if isinstance(node, list):
            raise where.error(
                "expected a name, a literal or a map such as {from: name, trim: true}, saw a list"
            )
        return constant(node, where)

    def condition(self, node: Any, where: Where) -> Expression:
        """The expression of a node that must be true or false."""
        expression = self.compile(node, where)
        if expression.type != "bool":
            raise where.error(
                f"expected a condition, saw a value of type {expression.type}; use equals, at_most, matches, is_null, …"
            )
        return expression

    def _reference(self, name: str, where: Where) -> Expression:
        if name in self.scope:
            return self.scope[name]
        if self.lines is not None and name in self.lines.scope:
            raise where.error(
                f"{name!r} belongs to a line, and a group has many: say which, such as {{first: {name}}} "
                f"or {{sum: {name}}}"
            )
        error = where.unknown("name", name, self.scope)
        raise type(error)(f"{error} (for the text itself write {{constant: {name}}})")

    def _pipeline(self, spec: dict, where: Where) -> Expression:
        if not spec:
            raise where.error(f"expected a value; it begins with one of: {', '.join(sorted(HEADS))}")
        first = next(iter(spec))
        if first not in HEADS:
            if first in STEPS:
                raise where.error(
                    f"{first!r} changes a value; begin with where it comes from, such as {{from: name, {first}: …}}"
                )
            raise where.unknown("operation", first, [*HEADS, *STEPS])
        head, own = HEADS[first]
        expression = head(self, spec, where / first).folded(where / first)
        for key, argument in spec.items():
            if key == first or key in own:
                continue
            if key not in STEPS:
                if key in HEADS:
                    raise where.error(
                        f"{key!r} begins a value and cannot follow {first!r}; nest it: {{{first}: {{{key}: …}}}}"
                    )
                raise where.unknown("operation", key, STEPS)
            expression = STEPS[key](self, expression, argument, where / key).folded(where / key)
        return expression


def _from(compiler: Compiler, spec: dict, where: Where) -> Expression:
    return compiler.compile(spec["from"], where)


def _column(compiler: Compiler, spec: dict, where: Where) -> Expression:
    name = spec["column"]
    found = compiler.scope.get(name) if isinstance(name, str) else None
    if found is None or found.columns != {name}:
        raise where.unknown("column", name, _columns(compiler.scope))
    return found


def _columns(scope: Mapping[str, Expression]) -> Iterable[str]:
    return [name for name, expression in scope.items() if expression.columns == {name}]


def _constant(compiler: Compiler, spec: dict, where: Where) -> Expression:
    return constant(spec["constant"], where)


HEADS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "from": (_from, ()),
    "column": (_column, ()),
    "constant": (_constant, ()),
    **{name: head for module in MODULES for name, head in module.HEADS.items()},
}


def named_value(slot: int, inner: Expression) -> Expression:
    """A named value of a line or group: computed once, when something asks for it."""
    compute = inner.evaluate

    def evaluate(context: Any) -> Any:
        value = context.memo[slot]
        if value is MISSING:
            value = context.memo[slot] = compute(context)
        return value

    return Expression(evaluate, inner.type, inner.columns, inner.is_constant, inner.personal)


def of_group(inner: Expression) -> Expression:
    """A group's value as its lines see it."""
    evaluate = inner.evaluate
    return Expression(
        lambda line: evaluate(line.group), inner.type, inner.columns, inner.is_constant, inner.personal
    )


def column_value(index: int, name: str, nulls: frozenset[str], personal: bool) -> Expression:
    """A column of a line; one of the null texts becomes null."""
    if nulls == {""}:

        def evaluate(line: Any) -> str | None:
            return line.row[index] or None

    else:

        def evaluate(line: Any) -> str | None:
            text = line.row[index]
            return None if not text or text in nulls else text

    return Expression(evaluate, "string", frozenset([name]), personal=personal)

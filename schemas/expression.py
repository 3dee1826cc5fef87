"""One expression language for rules and metrics: SQL, as Spark understands it.

An expression is written once as SQL text. Spark evaluates it with `expr()`; `compile_expression` turns the same text
into a Python function over one row, with SQL's three-valued logic, for the REST ingest, the fold and the tests.
Reads and writes nothing.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import sqlglot
from sqlglot import exp

from schemas.errors import ContractError

Row = Mapping[str, Any]
Evaluator = Callable[[Row], Any]


def compile_expression(sql: str, columns: Mapping[str, int]) -> tuple[Evaluator, int]:
    """Compile `sql` to a function of one row.

    `columns` gives the decimal scale of each column as it stands in the row: money in minor units (int) has scale 2,
    everything else, a `Decimal` too, has scale 0. Returns the function and the scale of its result: with scale 2 the
    result is in minor units. NULL is None. Raises ContractError for syntax, functions or columns that are not known.
    """
    return _Compiler(sql, columns).visit(parsed(sql))


def parsed(sql: str) -> exp.Expression:
    """The tree of one expression. Raises ContractError for anything else."""
    if not isinstance(sql, str):
        raise ContractError(f"expected a SQL expression as text, saw {sql!r}")
    try:
        # As what is selected: at the beginning of a text `comment` or `set` would be a statement.
        statement = sqlglot.parse_one(f"SELECT {sql}", read="spark")
    except sqlglot.errors.SqlglotError as error:
        raise ContractError(f"expected a SQL expression, saw {sql!r}: {error}") from error
    given = {name for name, value in statement.args.items() if value}
    if not isinstance(statement, exp.Select) or given != {"expressions"} or len(statement.expressions) != 1:
        raise ContractError(f"expected one SQL expression, saw {sql!r}")
    [tree] = statement.expressions
    return tree.pop()


class _Compiler:
    def __init__(self, sql: str, columns: Mapping[str, int]) -> None:
        self.sql = sql
        self.columns = columns

    def visit(self, node: exp.Expression) -> tuple[Evaluator, int]:
        method = getattr(self, "on_" + type(node).__name__.lower(), None)
        if method is None:
            raise ContractError(
                f"{type(node).__name__} is not part of the expression language, in {self.sql!r}; "
                "use comparisons, AND/OR/NOT, IN, BETWEEN, IS NULL, + - *, length, trim, lower, rlike"
            )
        return method(node)

    def value(self, node: exp.Expression) -> Evaluator:
        return self.visit(node)[0]

    def on_paren(self, node: exp.Paren):
        return self.visit(node.this)

    def on_column(self, node: exp.Column):
        name = node.name
        if name not in self.columns:
            raise ContractError(f"unknown column {name!r} in {self.sql!r}; known: {', '.join(self.columns)}")
        return (lambda row: row.get(name)), self.columns[name]

    def on_literal(self, node: exp.Literal):
        if node.is_string:
            text = node.this
            return (lambda row: text), 0
        whole, _, fraction = node.this.partition(".")
        if not (whole + fraction).isdecimal():
            raise ContractError(f"expected a number without an exponent, saw {node.this}, in {self.sql!r}")
        number = int(whole + fraction)
        return (lambda row: number), len(fraction)

    def on_boolean(self, node: exp.Boolean):
        return (lambda row: node.this), 0

    def on_null(self, node: exp.Null):
        return (lambda row: None), 0

    def on_neg(self, node: exp.Neg):
        inner, scale = self.visit(node.this)
        return (lambda row: None if (v := inner(row)) is None else -v), scale

    def pair(self, node: exp.Binary) -> tuple[Evaluator, Evaluator, int]:
        """Both sides, brought to one scale."""
        left, left_scale = self.visit(node.this)
        right, right_scale = self.visit(node.expression)
        scale = max(left_scale, right_scale)
        return _rescale(left, scale - left_scale), _rescale(right, scale - right_scale), scale

    def binary(self, node: exp.Binary, operation: Callable[[Any, Any], Any]) -> tuple[Evaluator, int]:
        left, right, scale = self.pair(node)

        def evaluate(row: Row) -> Any:
            a = left(row)
            if a is None:
                return None
            b = right(row)
            return None if b is None else operation(a, b)

        return evaluate, scale

    def on_add(self, node):
        return self.binary(node, lambda a, b: a + b)

    def on_sub(self, node):
        return self.binary(node, lambda a, b: a - b)

    def on_mul(self, node: exp.Mul):
        left, left_scale = self.visit(node.this)
        right, right_scale = self.visit(node.expression)

        def evaluate(row: Row) -> Any:
            a, b = left(row), right(row)
            return None if a is None or b is None else a * b

        return evaluate, left_scale + right_scale

    def on_eq(self, node):
        return self.binary(node, lambda a, b: a == b)[0], 0

    def on_neq(self, node):
        return self.binary(node, lambda a, b: a != b)[0], 0

    def on_gt(self, node):
        return self.binary(node, lambda a, b: a > b)[0], 0

    def on_gte(self, node):
        return self.binary(node, lambda a, b: a >= b)[0], 0

    def on_lt(self, node):
        return self.binary(node, lambda a, b: a < b)[0], 0

    def on_lte(self, node):
        return self.binary(node, lambda a, b: a <= b)[0], 0

    def on_between(self, node: exp.Between):
        low = exp.GTE(this=node.this, expression=node.args["low"])
        high = exp.LTE(this=node.this, expression=node.args["high"])
        return self.visit(exp.And(this=low, expression=high))

    def on_and(self, node: exp.And):
        left, right = self.value(node.this), self.value(node.expression)

        def evaluate(row: Row) -> bool | None:
            a = left(row)
            if a is False:
                return False
            b = right(row)
            return False if b is False else (None if a is None or b is None else True)

        return evaluate, 0

    def on_or(self, node: exp.Or):
        left, right = self.value(node.this), self.value(node.expression)

        def evaluate(row: Row) -> bool | None:
            a = left(row)
            if a is True:
                return True
            b = right(row)
            return True if b is True else (None if a is None or b is None else False)

        return evaluate, 0

    def on_not(self, node: exp.Not):
        inner = self.value(node.this)
        return (lambda row: None if (v := inner(row)) is None else not v), 0

    def on_is(self, node: exp.Is):
        if not isinstance(node.expression, exp.Null):
            raise ContractError(f"IS takes only NULL, in {self.sql!r}")
        inner = self.value(node.this)
        return (lambda row: inner(row) is None), 0

    def on_in(self, node: exp.In):
        inner, scale = self.visit(node.this)
        items = [self.visit(item) for item in node.expressions]
        allowed = frozenset(_rescale(item, scale - item_scale)({}) for item, item_scale in items)
        return (lambda row: None if (v := inner(row)) is None else v in allowed), 0

    def on_length(self, node: exp.Length):
        inner = self.value(node.this)
        return (lambda row: None if (v := inner(row)) is None else len(v)), 0

    def on_trim(self, node: exp.Trim):
        if node.expression or node.args.get("position"):
            raise ContractError(
                f"expected trim(text), which takes off spaces, saw {node.sql()}, in {self.sql!r}"
            )
        inner = self.value(node.this)
        # Spark's trim takes off spaces only, Python's strip all white space
        return (lambda row: None if (v := inner(row)) is None else v.strip(" ")), 0

    def on_lower(self, node: exp.Lower):
        inner = self.value(node.this)
        return (lambda row: None if (v := inner(row)) is None else v.lower()), 0

    def on_regexplike(self, node: exp.RegexpLike):
        inner = self.value(node.this)
        pattern = pattern_of(node, self.sql)
        return (lambda row: None if (v := inner(row)) is None else pattern.search(v) is not None), 0


def pattern_of(node: exp.RegexpLike, sql: str) -> re.Pattern[str]:
    """What a text has to match. Raises ContractError if that is no pattern."""
    text = node.expression
    if not (isinstance(text, exp.Literal) and text.is_string):
        raise ContractError(f"expected RLIKE with a pattern in quotes, saw {text.sql()}, in {sql!r}")
    try:
        # ASCII: Java's \s and \w know only ASCII. \z is Java's end of text; Python before 3.14 writes \Z
        return re.compile(text.this.replace(r"\z", r"\Z"), re.ASCII)
    except re.error as error:
        raise ContractError(
            f"expected a regular expression, saw {text.this!r}: {error}, in {sql!r}"
        ) from error


def _rescale(inner: Evaluator, digits: int) -> Evaluator:
    if digits <= 0:
        return inner
    factor = 10**digits
    return lambda row: None if (v := inner(row)) is None else v * factor

"""Whether an expression's parts go together: text with text, numbers with numbers. Pure.

Spark would turn one into the other, Python would not, and neither would say so before a record comes: so it is told
when a declaration is read. Times are numbers here (µs), as they are in a row; money and decimals are, too.
"""

import re
from collections.abc import Mapping
from typing import Literal

from sqlglot import exp

from schemas.errors import ContractError
from schemas.expression import parsed, pattern_of

Kind = Literal["text", "number", "boolean", "null"]
COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
SUMS = (exp.Add, exp.Sub, exp.Mul)


def check_type(sql: str, columns: Mapping[str, Kind], wanted: Kind) -> None:
    """Raise ContractError unless `sql`, which `compile_expression` takes, gives what is `wanted` of these columns."""
    found = _Types(sql, columns).of(parsed(sql))
    if found != wanted:
        raise ContractError(f"expected a {wanted}, saw a {found}, in {sql!r}")


class _Types:
    def __init__(self, sql: str, columns: Mapping[str, Kind]) -> None:
        self._sql, self._columns = sql, columns

    def of(self, node: exp.Expression) -> Kind:
        match node:
            case exp.Paren():
                return self.of(node.this)
            case exp.Column():
                return self._columns[node.name]
            case exp.Literal():
                return "text" if node.is_string else "number"
            case exp.Boolean():
                return "boolean"
            case exp.Null():
                return "null"
            case exp.Neg():
                return self._all("number", node.this)
            case exp.And() | exp.Or():
                return self._all("boolean", node.this, node.expression)
            case exp.Not():
                return self._all("boolean", node.this)
            case exp.Is():
                self.of(node.this)
                return "boolean"
            case exp.Length():
                self._all("text", node.this)
                return "number"
            case exp.Trim() | exp.Lower():
                return self._all("text", node.this)
            case exp.RegexpLike():
                self._all("text", node.this)
                pattern_of(node, self._sql)
                return "boolean"
            case exp.Between():
                return self._alike(node.this, node.args["low"], node.args["high"])
            case exp.In():
                return self._one_of(node)
        if isinstance(node, SUMS):
            return self._all("number", node.this, node.expression)
        if isinstance(node, COMPARISONS):
            return self._alike(node.this, node.expression)
        raise ContractError(f"{type(node).__name__} is not part of the expression language, in {self._sql!r}")

    def _all(self, wanted: Kind, *nodes: exp.Expression) -> Kind:
        for node in nodes:
            if (found := self.of(node)) not in (wanted, "null"):
                raise ContractError(f"expected a {wanted}, saw the {found} {_told(node)}, in {self._sql!r}")
        return wanted

    def _alike(self, *nodes: exp.Expression) -> Kind:
        kinds = [self.of(node) for node in nodes]
        named = {kind: node for kind, node in zip(kinds, nodes, strict=True) if kind != "null"}
        if len(named) > 1:
            told = " with the ".join(f"{kind} {_told(node)}" for kind, node in named.items())
            raise ContractError(
                f"expected two of a kind to compare, saw the {told}, in {self._sql!r}; a time is a number: "
                "microseconds since 1970, UTC"
            )
        return "boolean"

    def _one_of(self, node: exp.In) -> Kind:
        items = node.expressions
        if not items:
            raise ContractError(f"expected IN with something to choose from, saw nothing, in {self._sql!r}")
        for item in items:
            bare = item.this if isinstance(item, exp.Neg) else item
            if not isinstance(bare, exp.Literal):
                raise ContractError(f"expected IN with texts or numbers, saw {_told(item)}, in {self._sql!r}")
        return self._alike(node.this, *items)


def _told(node: exp.Expression) -> str:
    text = re.sub(r"\s+", " ", node.sql(dialect="spark"))
    return text if len(text) <= 60 else f"{text[:57]}…"

"""How large the value of a measure can be: whether a sum of many fits into the 64 bits that it is kept in. Pure.

By the types of the columns, their `minimum` and `maximum`, and rules that refuse what an expression may not pass.
"""

from collections.abc import Collection
from fractions import Fraction

from sqlglot import exp

from schemas.contract import Contract, Field
from schemas.errors import ContractError
from schemas.expression import parsed

Bounds = tuple[Fraction, Fraction]
BITS = {"int": 31, "long": 63, "timestamp": 63}
LARGEST_TEXT = 2**31  # what length() gives of a text without `max_length`


def bounds(expression: str, contract: Contract) -> Bounds:
    """The least and the largest value that accepted records of `contract` can give a numeric `expression`."""
    tree = parsed(expression)
    return _Bounds(contract, {column.name for column in tree.find_all(exp.Column)}).of(tree)


class _Bounds:
    def __init__(self, contract: Contract, columns: Collection[str]) -> None:
        self._fields = contract.fields
        self._at_most: dict[str, Fraction] = {}
        self._at_least: dict[str, Fraction] = {}
        for rule in contract.rules:
            if rule.severity == "reject" and any(name in rule.expression for name in columns):
                self._learn(parsed(rule.expression))

    def of(self, node: exp.Expression) -> Bounds:
        low, high = self._by_its_parts(node)
        text = _text(node)
        return max(low, self._at_least.get(text, low)), min(high, self._at_most.get(text, high))

    def _by_its_parts(self, node: exp.Expression) -> Bounds:
        match node:
            case exp.Paren():
                return self.of(node.this)
            case exp.Column():
                return _of_field(self._fields[node.name])
            case exp.Literal(is_string=False):
                return Fraction(node.name), Fraction(node.name)
            case exp.Neg():
                low, high = self.of(node.this)
                return -high, -low
            case exp.Add() | exp.Sub() | exp.Mul():
                (a, b), (c, d) = self.of(node.this), self.of(node.expression)
                match node:
                    case exp.Add():
                        return a + c, b + d
                    case exp.Sub():
                        return a - d, b - c
                products = (a * c, a * d, b * c, b * d)
                return min(products), max(products)
            case exp.Length():
                return Fraction(0), Fraction(LARGEST_TEXT)
        raise ContractError(f"expected a number out of columns, numbers and + - *, saw {node.sql()!r}")

    def _learn(self, node: exp.Expression) -> None:
        """What a rule says by comparing something with a number."""
        match node:
            case exp.And():
                self._learn(node.this)
                self._learn(node.expression)
            case exp.Paren():
                self._learn(node.this)
            case exp.Between():
                self._learn(exp.GTE(this=node.this.copy(), expression=node.args["low"].copy()))
                self._learn(exp.LTE(this=node.this.copy(), expression=node.args["high"].copy()))
            case exp.LTE() | exp.LT() if (limit := _number(node.expression)) is not None:
                _note(self._at_most, _text(node.this), limit, min)
            case exp.GTE() | exp.GT() if (limit := _number(node.expression)) is not None:
                _note(self._at_least, _text(node.this), limit, max)


def _note(limits: dict[str, Fraction], text: str, limit: Fraction, tighter) -> None:
    limits[text] = tighter(limit, limits.get(text, limit))


def _of_field(field: Field) -> Bounds:
    if field.type == "decimal":
        most = Fraction(10**field.precision - 1, 10**field.scale)
        return -most, most
    most = Fraction(2 ** BITS[field.type])
    return -most, most


def _number(node: exp.Expression) -> Fraction | None:
    if isinstance(node, exp.Neg):
        inner = _number(node.this)
        return None if inner is None else -inner
    return Fraction(node.name) if isinstance(node, exp.Literal) and not node.is_string else None


def _text(node: exp.Expression) -> str:
    while isinstance(node, exp.Paren):
        node = node.this
    return node.sql(dialect="spark")

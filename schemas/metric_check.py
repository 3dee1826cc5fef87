"""Whether a declared metric can be counted: what it names exists, adds up in whole minor units, and is nobody's secret.

Pure. Looks at declarations and contracts before anything is counted by them.
"""

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import Any, get_args

from sqlglot import exp

from schemas.bounds import bounds
from schemas.contract import CONTRACTS, Contract
from schemas.errors import ContractError
from schemas.expression import compile_expression, parsed
from schemas.expression_type import Kind, check_type
from schemas.extension import NAME, one_line
from schemas.metric import Active, AnyMetric, Count, Derived, Dimension, Funnel, Metric, Sum, Unit, Verdicts

START = "start"  # the name of a bucket in an answer's rows
# What a question asks by beside the dimensions, each of which is a parameter of its name.
PARAMETERS = ("grain", "from", "to", "by", "order", "limit", "n")
ROWS_THAT_FIT = 1_000_000  # of the largest that there can be, into the 64 bits of a sum


def check_all(
    metrics: Iterable[Any],
    dimensions: Iterable[Any],
    shop_metrics: Collection[AnyMetric] = (),
    shop_dimensions: Collection[Dimension] = (),
    *,
    file: str,
) -> None:
    """Check what `file` declares beside what the shop has. Raises ContractError that names the file."""
    names = {metric.name for metric in shop_metrics}
    known = {dimension.name: dimension for dimension in shop_dimensions}
    try:
        for dimension in dimensions:
            _expect(
                isinstance(dimension, Dimension), f"DIMENSIONS: expected a Dimension, saw {dimension!r:.80}"
            )
            _check_name("dimension", dimension.name, known)
            check_dimension(dimension)
            known[dimension.name] = dimension
        for metric in metrics:
            allowed = Metric | Funnel | Active if shop_metrics else AnyMetric
            _expect(
                isinstance(metric, allowed),
                f"METRICS: expected each to be a Metric, Funnel or Active, saw {metric!r:.80}",
            )
            _check_name("metric", metric.name, names)
            check(metric, known)
            names.add(metric.name)
    except (ContractError, TypeError, AttributeError) as error:
        # A type error: something inside a declaration is not what its place is for.
        raise ContractError(f"{file}: {one_line(error)}") from error


def check(metric: AnyMetric, dimensions: Mapping[str, Dimension]) -> None:
    """Raise ContractError if a declaration names what does not exist or would need more than minor units."""
    _check_shape(metric)
    if isinstance(metric, Verdicts):
        return
    contract = _contract(f"metric {metric.name}", metric.of)
    if contract.fields.get(metric.at) is None or contract.fields[metric.at].type != "timestamp":
        raise ContractError(
            f"metric {metric.name}: `at` must name a timestamp of {metric.of}, saw {metric.at!r}"
        )
    _check_columns(f"metric {metric.name}", contract, (metric.at, *_named_columns(metric)))
    _check_dimensions(f"metric {metric.name}", contract, _named_columns(metric))
    if not isinstance(metric, Metric):
        _check_of_facts(metric, contract)
        return
    scales = contract.minor_unit_scales
    for measure in metric.measures:
        where = f"metric {metric.name}.{measure.name}"
        scale = _compile(where, measure.expression, scales, contract.kinds, "number")
        if scale != (2 if measure.unit == "money" else 0):
            raise ContractError(
                f"{where}: a {measure.unit} measure cannot have {scale} decimals; "
                "money is a sum of money columns or money times a whole number"
            )
        if measure.where:
            _compile(where, measure.where, scales, contract.kinds, "boolean")
    # After the expressions: a word in one that is no column has been told by now.
    _check_columns(f"metric {metric.name}", contract, metric.columns)
    for measure in metric.measures:
        _check_size(f"metric {metric.name}.{measure.name}", measure, contract)
    for rollup in metric.rollups:
        dimension = dimensions.get(rollup.dimension)
        if rollup.through not in metric.by or dimension is None or rollup.name not in dimension.attributes:
            raise ContractError(
                f"metric {metric.name}: roll-up {rollup.name} needs a dimension of `by` and a declared Dimension "
                "with an attribute of its name"
            )
        _check_dimensions(f"metric {metric.name}", dimension.contract, (rollup.name,))


def _check_size(where: str, measure: Sum | Count, contract: Contract) -> None:
    """One accepted record must not end all counting."""
    digits = 2 if measure.unit == "money" else 0
    largest = max(abs(each) for each in bounds(measure.expression, contract))
    most = 2**63 / Fraction(ROWS_THAT_FIT * 10**digits)
    _expect(
        largest <= most,
        f"{where}: expected what one record adds to be at most {int(most):,}, of which {ROWS_THAT_FIT:,} fit into the "
        f"64 bits of a sum; `{measure.expression}` may be {int(largest):,}: give its fields a `maximum` (and a "
        "`minimum`), or declare a rule that refuses more",
    )


def check_dimension(dimension: Dimension) -> None:
    """Raise ContractError if a dimension names what does not exist, or rows that never change."""
    where = f"dimension {dimension.name}"
    contract = _contract(where, dimension.of)
    _expect(
        contract.is_change,
        f"{where}: expected a topic whose events have a version, saw {dimension.of} of facts",
    )
    _expect(
        isinstance(dimension.attributes, tuple) and dimension.attributes,
        f"{where}: expected `attributes` to be a tuple of columns, saw {dimension.attributes!r}",
    )
    _check_columns(where, contract, dimension.attributes)


def _check_shape(metric: AnyMetric) -> None:
    where = f"metric {metric.name}"
    for part in ("by", "measures", "derived", "rollups", "stages"):
        value = getattr(metric, part, ())
        _expect(isinstance(value, tuple), f"{where}: expected `{part}` to be a tuple, saw {value!r:.80}")
    _expect(metric.measures, f"{where}: expected something to measure, saw nothing")
    derived: tuple[Derived, ...] = getattr(metric, "derived", ())
    rollups = getattr(metric, "rollups", ())
    figures = (*metric.measures, *derived)
    names = [START, *getattr(metric, "by", ()), *(each.name for each in (*rollups, *figures))]
    asked_by = (*getattr(metric, "by", ()), *(each.name for each in rollups))
    for name in asked_by:
        _expect(
            name not in PARAMETERS,
            f"{where}: expected dimensions that are not called as a parameter of a question ({', '.join(PARAMETERS)}), "
            f"saw {name!r}",
        )
    for name in names:
        _expect(
            isinstance(name, str) and NAME.fullmatch(name) and names.count(name) == 1,
            f"{where}: expected names of lower-case letters, digits and '_', each once, none {START!r}; saw {name!r}",
        )
    for figure in figures:
        units = get_args(Unit)
        _expect(
            figure.unit in units,
            f"{where}.{figure.name}: expected one of {', '.join(units)}, saw the unit {figure.unit!r}",
        )
    scales = {measure.name: 2 if measure.unit == "money" else 0 for measure in metric.measures}
    for each in derived:
        _check_division(f"{where}.{each.name}", each.expression)
        top, slash, bottom = each.expression.partition("/")
        for part in (top, bottom) if slash else (top,):
            _compile(f"{where}.{each.name}", part, scales, dict.fromkeys(scales, "number"), "number")


def _check_division(where: str, expression: str) -> None:
    """One part is divided by the other and rounded once; a division inside of something else would be rounded twice."""
    try:
        tree = parsed(expression)
    except ContractError as error:
        raise ContractError(f"{where}: {error}") from error
    divisions = list(tree.find_all(exp.Div))
    _expect(
        not divisions or divisions == [tree],
        f"{where}: expected at most one division, of all that is before it by all that is behind it, as in "
        f"`(a - b) / (c + d)`; saw {expression!r}",
    )


def _check_of_facts(metric: Funnel | Active, contract: Contract) -> None:
    where = f"metric {metric.name}"
    if isinstance(metric, Funnel):
        _expect(
            not contract.is_change and metric.key == contract.key,
            f"{where}: a funnel counts the Kafka keys ({contract.key}) of a topic of facts, so that one partition "
            f"holds all it needs; saw key {metric.key!r} of {contract.topic}",
        )
    _expect(not contract.is_change, f"{where}: needs a topic of facts, {contract.topic} is not one")
    for column in (metric.at, metric.stage) if isinstance(metric, Funnel) else (metric.at,):
        _expect(
            not contract.fields[column].nullable,
            f"{where}: expected a column that every event has, saw {column!r}, which may be null",
        )


def _contract(where: str, topic: str) -> Contract:
    _expect(topic in CONTRACTS, f"{where}: no topic {topic!r}; known: {', '.join(CONTRACTS)}")
    return CONTRACTS[topic]


def _check_columns(where: str, contract: Contract, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in contract.fields:
            raise ContractError(f"{where}: {contract.topic} has no column {column!r}")
        if contract.fields[column].pii:
            raise ContractError(
                f"{where}: {column} is personal data and cannot be a dimension, a key or measured"
            )


def _check_dimensions(where: str, contract: Contract, columns: Iterable[str]) -> None:
    """Rows are told apart by them as text: of an amount or a time that would be its bare number."""
    for column in columns:
        kind = contract.fields[column].type
        _expect(
            kind in ("string", "int", "long"),
            f"{where}: expected dimensions and keys of text or whole numbers, saw {column!r}, which is a {kind}",
        )


def _check_name(kind: str, name: Any, known: Collection[str]) -> None:
    _expect(
        isinstance(name, str) and NAME.fullmatch(name),
        f"{kind} {name!r}: expected a name of lower-case letters, digits and '_'",
    )
    _expect(name not in known, f"{kind} {name}: expected a name that is not taken yet; take another one")


def _compile(
    where: str, expression: str, scales: Mapping[str, int], kinds: Mapping[str, Kind], wanted: Kind
) -> int:
    """The scale of an expression's result, which is of the kind that is wanted."""
    try:
        scale = compile_expression(expression, scales)[1]
        check_type(expression, kinds, wanted)
        return scale
    except ContractError as error:
        raise ContractError(f"{where}: {error}") from error


def _expect(holds: Any, message: str) -> None:
    if not holds:
        raise ContractError(message)


def _named_columns(metric: Metric | Funnel | Active) -> tuple[str, ...]:
    if isinstance(metric, Metric):
        return metric.by
    return (metric.key, metric.stage) if isinstance(metric, Funnel) else tuple(metric.keys.values())

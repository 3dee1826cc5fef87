"""What a metric has to say at the oracle's offsets: one SELECT per question over the oracle's rows.

Made from the same declarations as the live numbers and by nothing of their code: those add up what each event changes,
this counts everything anew.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from operator import add, mul, sub, truediv
from typing import Any

import duckdb
from sqlglot import exp

from replay.verify.layout import day_column
from replay.verify.oracle import Oracle
from schemas.errors import ContractError
from schemas.expression import parsed
from schemas.metric import Active, AnyMetric, Funnel, Metric, Verdicts
from schemas.metrics import DIMENSIONS
from serving.lake.views import quoted
from serving.read import MetricQuery
from serving.read.query import SECONDS, UNKNOWN

DIGITS = {"money": 2, "ratio": 6, "count": 0}  # behind the point, of derived figures
ARITHMETIC = {exp.Add: add, exp.Sub: sub, exp.Mul: mul, exp.Div: truediv}
WHOLE_DIGITS = {"int": 10, "long": 19}
LONGEST_DAY = 2 * 86_400  # seconds; longer than any is
Rows = Mapping[tuple, tuple]  # bucket and dimensions → the measures, in the order of the declaration


def expected_rows(oracle: Oracle, query: MetricQuery) -> Rows:
    """The rows of a question without `where`, `order` and `limit`, but those that are all zero."""
    match query.metric:
        case Active():
            rows = [((0,), active_figures(oracle.database, query.metric, oracle.kafka_time))]
        case Verdicts():
            rows = _verdicts(oracle, query)
        case _:
            width = 1 + len(query.by)
            found = oracle.database.execute(_sql(query, oracle)).fetchall()
            rows = [(row[:width], row[width:]) for row in found]
    return {key: measures for key, measures in rows if any(measures)}


def derived_figures(metric: AnyMetric, measures: Sequence[Any]) -> tuple[Decimal | None, ...]:
    """What a row's measures come to in the figures that are declared by them: exact fractions, rounded once."""
    known = {m.name: Fraction(value) for m, value in zip(metric.measures, measures, strict=True)}
    found: list[Decimal | None] = []
    for derived in getattr(metric, "derived", ()):
        digits = DIGITS[derived.unit]
        try:
            exact = _value(_parsed(derived.expression), known)
        except ZeroDivisionError:
            found.append(None)
        else:
            value = Decimal(round(exact * 10**digits)).scaleb(-digits)  # half to even
            # A ratio is told as a float, which holds some 16 digits.
            found.append(Decimal(repr(float(value))) if derived.unit == "ratio" else value)
    return tuple(found)


_parsed = cache(parsed)


def _value(node: exp.Expression, known: Mapping[str, Fraction]) -> Fraction:
    """Of arithmetic over names."""
    match node:
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
            return ARITHMETIC[type(node)](_value(node.left, known), _value(node.right, known))
        case exp.Neg():
            return -_value(node.this, known)
        case exp.Paren():
            return _value(node.this, known)
        case exp.Column():
            return known[node.name]
        case exp.Literal(is_string=False):
            return Fraction(node.name)
    raise ContractError(f"expected + - * / and names in what is derived from measures, saw {node.sql()}")


def bucket_of(oracle: Oracle, grain: str, seconds: int) -> int:
    """The start of the bucket that a time lies in, both in seconds since 1970."""
    if grain == "all":
        return 0
    if grain == "day":
        local = datetime.fromtimestamp(seconds, UTC).astimezone(oracle.zone)
        start = datetime(local.year, local.month, local.day, tzinfo=oracle.zone)
        return int(start.timestamp())
    return seconds - seconds % SECONDS[grain]


def _sql(query: MetricQuery, oracle: Oracle) -> str:
    metric, where = query.metric, ""
    if query.grain == "day":
        first, last = (datetime.fromtimestamp(at, oracle.zone).date() for at in (query.start, query.end - 1))
        where = f"WHERE {quoted(day_column(metric.at))} BETWEEN DATE '{first}' AND DATE '{last}'"
    elif query.grain != "all":
        # Whole buckets, the last one too.
        step = SECONDS[query.grain]
        where = f"WHERE _at >= {query.start - query.start % step} AND _at < {-(-query.end // step) * step}"
    return metric_sql(metric, query.grain, query.by, where)


def metric_sql(metric: Metric | Funnel, grain: str, by: Sequence[str], where: str = "") -> str:
    """A SELECT of the bucket, the dimensions `by` and the measures, over tables of `replay.verify.layout`."""
    rows = _firsts(metric) if isinstance(metric, Funnel) else _rows(metric)
    dimensions = [_dimension(metric, name) for name in by]
    joins = [join for _, join in dimensions if join]
    keys = [_bucket(metric, grain), *(column for column, _ in dimensions)]
    measures = [_measure(metric, measure) for measure in metric.measures]
    return (
        f"SELECT {', '.join([*keys, *measures])} FROM ({rows}) AS _r {' '.join(joins)} {where} "
        f"GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}"
    )


def _rows(metric: Metric) -> str:
    """The rows that it is a function of, whole numbers as decimals so that products stay exact."""
    names = []
    for name in metric.columns:
        digits = WHOLE_DIGITS.get(metric.contract.fields[name].type)
        names.append(f"{quoted(name)}::DECIMAL({digits}, 0) AS {quoted(name)}" if digits else quoted(name))
    return f"SELECT {', '.join(names)}, {_seconds(metric.at)} AS _at, {quoted(day_column(metric.at))} FROM {metric.of}"


def _firsts(metric: Funnel) -> str:
    """Each key's first event of each stage."""
    day = quoted(day_column(metric.at))
    return (
        f"SELECT {metric.stage}, min({_seconds(metric.at)}) AS _at, min({day}) AS {day} FROM {metric.of} "
        f"GROUP BY {metric.key}, {metric.stage}"
    )


def _seconds(column: str) -> str:
    return f"(epoch_us({quoted(column)}) // 1000000)"


def _bucket(metric: AnyMetric, grain: str) -> str:
    if grain == "all":
        return "0"
    return (
        f"{quoted(day_column(metric.at))}"
        if grain == "day"
        else f"_at // {SECONDS[grain]} * {SECONDS[grain]}"
    )


def _dimension(metric: AnyMetric, name: str) -> tuple[str, str]:
    """Its column, and the join that it needs."""
    for rollup in getattr(metric, "rollups", ()):
        if rollup.name == name:
            of = DIMENSIONS[rollup.dimension]
            alias = f"_d_{name}"
            # By names that no column of the metric's own topic has.
            rows = f"SELECT {of.contract.entity_id} AS _id, {quoted(name)}::VARCHAR AS _value FROM {of.of}"
            join = f"LEFT JOIN ({rows}) AS {alias} ON _r.{rollup.through} = {alias}._id"
            return f"coalesce({alias}._value, '{UNKNOWN}')", join
    return f"_r.{quoted(name)}::VARCHAR", ""


def _measure(metric: AnyMetric, measure: Any) -> str:
    if isinstance(metric, Funnel):
        return f"count(*) FILTER (WHERE {metric.stage} = '{measure.name}')"
    only = "" if measure.where is None else f" FILTER (WHERE {_translated(measure.where)})"
    if measure.expression == "1":
        return f"count(*){only}"
    return f"coalesce(sum(({_translated(measure.expression)})::DECIMAL(38, 2)){only}, 0)"


def _translated(expression: str) -> str:
    """From Spark's SQL, in which declarations are written, to DuckDB's."""
    return parsed(expression).sql(dialect="duckdb")


def active_figures(database: duckdb.DuckDBPyConnection, metric: Active, kafka_time: int) -> tuple:
    """Its measures, over the same tables; `kafka_time` is the broker's newest time (µs), which now is not behind."""
    distinct = ", ".join(f"count(DISTINCT {quoted(column)})" for column in metric.keys.values())
    newest = f"SELECT max({metric.at}) FROM {metric.of}"
    return database.execute(
        f"SELECT {distinct} FROM {metric.of} "
        f"WHERE epoch_us({metric.at}) > least(epoch_us(({newest})), {kafka_time}) - {metric.within_micros}"
    ).fetchone()


def _verdicts(oracle: Oracle, query: MetricQuery) -> list[tuple[tuple, tuple]]:
    by = ["topic"] if query.by else []
    figures = [
        "sum(records)" if m.name == "records" else f"coalesce(sum(records) FILTER (outcome = '{m.name}'), 0)"
        for m in query.metric.measures
    ]
    if query.grain == "all":
        bucket, asked = "0", "true"
    else:
        # Whole buckets, the last one too: of those that end behind the range the first are left out below.
        bucket = (
            "day" if query.grain == "day" else f"minute // {SECONDS[query.grain]} * {SECONDS[query.grain]}"
        )
        longest = LONGEST_DAY if query.grain == "day" else SECONDS[query.grain]
        asked = f"minute >= {query.start} AND minute < {query.end + longest}"
    rows = oracle.database.execute(
        f"SELECT {', '.join(['min(minute)', f'{bucket} AS bucket', *by, *figures])} FROM _minutes WHERE {asked} "
        f"GROUP BY {', '.join(['bucket', *by])}"
    ).fetchall()
    width = 1 + len(by)
    return [
        (found[:width], found[width:])
        for minute, *rest in rows
        if (found := tuple(rest))
        and (query.grain == "all" or query.start <= bucket_of(oracle, query.grain, minute) < query.end)
    ]

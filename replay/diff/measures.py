"""The declared metrics as files: by all their dimensions, by day and in all, as the REST API tells them.

Computed by the verifier's SQL over the files of the silver tables; what was decided about records comes from the
manifest's counts, which know no days. Derived figures are the API's own.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from replay.diff.index import Column, Relation
from replay.verify.layout import day_column
from replay.verify.metrics import active_figures, metric_sql
from schemas.contract import CONTRACTS
from schemas.metric import Active, AnyMetric, Derived, Funnel, Metric, Verdicts
from schemas.metrics import DIMENSIONS
from serving.lake.views import quoted
from serving.read.query import RATIO_DIGITS, compute, dimensions_of
from streams.lake.manifest import Manifest

FETCH = 10_000  # rows
DIGITS = {"money": 2, "count": 0, "ratio": RATIO_DIGITS}


def topics_of(metric: AnyMetric) -> set[str]:
    """Whose silver tables a metric is computed over."""
    if isinstance(metric, Verdicts):
        return set()
    return {metric.of} | {DIMENSIONS[r.dimension].of for r in getattr(metric, "rollups", ())}


def write_metric(
    database: duckdb.DuckDBPyConnection, manifest: Manifest, metric: AnyMetric, out: Path
) -> Iterator[Relation]:
    """A metric in `out`, in each grain that it has. `database` has the silver tables, with their days."""
    for grain in ("day", "all") if isinstance(metric, Metric | Funnel) else ("all",):
        key = (*(["day"] if grain == "day" else []), *dimensions_of(metric))
        columns = (*_keys(metric, key), *_figures(metric))
        file = f"metric-{metric.name}-{grain}.parquet"
        rows = (row for row in _rows(database, manifest, metric, grain, key) if any(row[len(key) :]))
        written = _write(out / file, columns, (_derived(metric, row, len(key)) for row in rows))
        day = "day" if grain == "day" else None
        yield Relation("metric", metric.name, metric.doc, file, written, key, columns, grain, day)


def _rows(
    database: duckdb.DuckDBPyConnection,
    manifest: Manifest,
    metric: AnyMetric,
    grain: str,
    key: Sequence[str],
) -> Iterable[tuple]:
    """The dimensions and the measures."""
    match metric:
        case Active():
            return [active_figures(database, metric, manifest.kafka_time)]
        case Verdicts():
            return _verdicts(manifest, metric)
    names = [*([] if grain == "day" else ["_all"]), *key, *(f"_m{n}" for n in range(len(metric.measures)))]
    measures = (
        f"_m{n}::DECIMAL(38, {DIGITS['money'] if m.unit == 'money' else 0})"
        for n, m in enumerate(metric.measures)
    )
    # A row without a time is in no bucket.
    known = f"WHERE {quoted(day_column(metric.at))} IS NOT NULL"
    result = database.execute(
        f"SELECT {', '.join([*map(quoted, key), *measures])} "
        f"FROM ({metric_sql(metric, grain, dimensions_of(metric), known)}) AS _q({', '.join(map(quoted, names))})"
    )
    return chain.from_iterable(iter(lambda: result.fetchmany(FETCH), []))


def _verdicts(manifest: Manifest, metric: Verdicts) -> list[tuple]:
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for place, records in manifest.counts.items():
        topic, _, outcome = place.split("/")
        found[topic]["records"] += records
        found[topic][outcome] += records
    return [(topic, *(row[m.name] for m in metric.measures)) for topic, row in sorted(found.items())]


def _derived(metric: AnyMetric, row: tuple, width: int) -> tuple:
    """The row, with the figures that follow from its measures."""
    derived = getattr(metric, "derived", ())
    if not derived:
        return row
    sums = {
        m.name: int(value * 100) if m.unit == "money" else int(value)
        for m, value in zip(metric.measures, row[width:], strict=True)
    }
    return (*row, *(compute(metric, each, sums) for each in derived))


def _keys(metric: AnyMetric, key: Sequence[str]) -> Iterator[Column]:
    personal = () if isinstance(metric, Verdicts) else CONTRACTS[metric.of].pii_fields
    for name in key:
        kind = "DATE" if name == "day" else "VARCHAR"
        yield Column(name, kind, personal=name in personal)


def _figures(metric: AnyMetric) -> Iterator[Column]:
    for measure in metric.measures:
        kind = f"DECIMAL(38,{DIGITS['money'] if measure.unit == 'money' else 0})"
        yield Column(measure.name, kind, measure.doc, measure.unit, _defined(metric, measure), summed=True)
    for each in getattr(metric, "derived", ()):
        kind = f"DECIMAL(38,{DIGITS[each.unit]})"
        yield Column(
            each.name, kind, each.doc, each.unit, each.expression, summed=_adds_up(each), derived=True
        )


def _adds_up(derived: Derived) -> bool:
    """Whether it is a sum of measures, and nothing that is multiplied, divided or constant."""
    return re.search(r"[*/]|\b[0-9]", derived.expression) is None


def _defined(metric: AnyMetric, measure: Any) -> str:
    match metric:
        case Metric():
            what = "count" if measure.expression == "1" else f"sum({measure.expression})"
            where = f" where {measure.where}" if measure.where else ""
            return f"{what}{where} of {metric.of} by {metric.at}"
        case Funnel():
            return f"first {metric.stage} = {measure.name} of each {metric.key} of {metric.of} by {metric.at}"
        case Active():
            return f"distinct {metric.keys[measure.name]} of {metric.of} within {metric.within_micros} µs"
        case _:
            return ""


def _write(path: Path, columns: Sequence[Column], rows: Iterable[tuple]) -> int:
    schema = pa.schema([(column.name, _arrow(column.type)) for column in columns])
    written = 0
    with pq.ParquetWriter(path, schema) as writer:
        rows = iter(rows)
        while chunk := list(islice(rows, FETCH)):
            arrays = [
                pa.array(map(_exact, values) if pa.types.is_decimal(field.type) else values, field.type)
                for values, field in zip(zip(*chunk, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=schema))
            written += len(chunk)
    return written


def _exact(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


def _arrow(kind: str) -> pa.DataType:
    if kind.startswith("DECIMAL"):
        return pa.decimal128(38, int(kind[:-1].rpartition(",")[2]))
    return pa.date32() if kind == "DATE" else pa.string()

"""Extracts by hand, for what a comparison makes of them, and the same comparison by plain Python."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.diff.compare import Asked, compare
from replay.diff.index import Column, Index, Relation
from replay.diff.values import Comparison, RelationDifference

ARROW = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "BOOLEAN": pa.bool_(),
    "VARCHAR[]": pa.list_(pa.string()),
}
MONEY = "DECIMAL(28,2)"


def column(name: str, kind: str = "VARCHAR", **more: Any) -> Column:
    summed = kind in ("BIGINT", "INTEGER") or kind.startswith("DECIMAL")
    return Column(name, kind, **{"summed": summed, **more})


class Extract:
    """An extract in `home`, of the relations that are added to it."""

    def __init__(self, home: Path, generation: str) -> None:
        self.home, self.generation = home / generation, generation
        self.home.mkdir(parents=True)
        self.relations: list[Relation] = []
        self.until = {("orders", 0): 12}

    def add(
        self,
        name: str,
        columns: Sequence[Column],
        rows: Sequence[tuple],
        key: Sequence[str],
        day: str | None = None,
        *,
        kind: str = "table",
        grain: str = "",
    ) -> "Extract":
        file = f"{kind}-{name}-{grain}.parquet"
        schema = pa.schema([(each.name, _arrow(each.type)) for each in columns])
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = [pa.array(each, field.type) for each, field in zip(values, schema, strict=True)]
        pq.write_table(pa.table(arrays, schema=schema), self.home / file)
        self.relations.append(
            Relation(kind, name, f"About {name}.", file, len(rows), tuple(key), tuple(columns), grain, day)
        )
        return self

    def done(self) -> Path:
        Index(self.generation, 7, self.until, "c0de", "UTC", "USD", tuple(self.relations)).write(self.home)
        return self.home


def compared(one: Extract, other: Extract, **asked: Any) -> Comparison:
    scratch = one.home.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return compare(one.done(), other.done(), scratch, Asked(**asked))


def compared_rows(
    home: Path,
    columns: Sequence[Column],
    one: Sequence[tuple],
    other: Sequence[tuple],
    key: Sequence[str],
    **more: Any,
) -> RelationDifference:
    """Of one table."""
    asked = more.pop("asked", {})
    sides = [
        Extract(home, g).add("t", columns, rows, key, **more) for g, rows in (("g1", one), ("g2", other))
    ]
    [found] = compared(*sides, **asked).relations
    return found


def plainly(
    columns: Sequence[Column], one: Sequence[tuple], other: Sequence[tuple], key: Sequence[str]
) -> Mapping:
    """What `compare` has to find, one row after the other."""
    at = [n for n, each in enumerate(columns) if each.name in key]
    left, right = Counter(one), Counter(other)
    rests = []
    for rest in (left - right, right - left):
        by_key: defaultdict[tuple, list[tuple]] = defaultdict(list)
        for row in rest.elements():
            by_key[tuple(row[n] for n in at)].append(row)
        rests.append(by_key)
    found = {"only_one": 0, "only_other": 0, "changed": 0, "columns": Counter()}
    for identity in rests[0].keys() | rests[1].keys():
        mine, theirs = (sorted(rest[identity], key=_null_last) for rest in rests)
        both = min(len(mine), len(theirs))
        found["changed"] += both
        found["only_one"] += len(mine) - both
        found["only_other"] += len(theirs) - both
        for a, b in zip(mine, theirs, strict=False):
            found["columns"].update(c.name for c, x, y in zip(columns, a, b, strict=True) if x != y)
    sums = {}
    for n, each in enumerate(columns):
        if each.summed and each.name not in key:
            sums[each.name] = tuple(sum(row[n] or 0 for row in rows) for rows in (one, other))
    return found | {"sums": sums}


def _null_last(row: tuple) -> list:
    return [(value is None, 0 if value is None else value) for value in row]


def _arrow(kind: str) -> pa.DataType:
    if kind.startswith("DECIMAL"):
        return pa.decimal128(*map(int, kind[8:-1].split(",")))
    return ARROW[kind]

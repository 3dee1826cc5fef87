"""Two extracts compared row by row, in both directions. Pure, but for the scratch that DuckDB may need.

Rows are matched by what names them. Where that names several rows on a side, those that are the same on both sides are
taken away first, each once, and the rest are matched in their order. So a row that is there twice is not there once.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import duckdb

from replay.diff.errors import NotComparable
from replay.diff.index import Index, Relation
from replay.diff.matching import Days, Match, has_days, match
from replay.diff.rows import Differing
from replay.diff.tables import bounded
from replay.diff.values import Comparison, Only, RelationDifference, Side

EXAMPLES = 20  # of each table and metric


@dataclass(frozen=True)
class Asked:
    """What to compare: these tables and metrics (both None: all), rows of these days, so many examples of each."""

    tables: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    days: Days | None = None
    examples: int = EXAMPLES

    @property
    def everything(self) -> bool:
        return self.tables is None and self.metrics is None

    def wants(self, relation: Relation) -> bool:
        names = self.tables if relation.kind == "table" else self.metrics
        return self.everything or relation.name in (names or ())


EVERYTHING = Asked()


def compare(one: Path, other: Path, scratch: Path, asked: Asked = EVERYTHING) -> Comparison:
    """The extracts in two directories. `scratch` is a directory for what does not fit into memory.

    Raises NotExtracted for what is no extract; NotComparable if they are of different offsets, or if neither has what
    was asked for.
    """
    first, second = Index.read(one), Index.read(other)
    _check_offsets(first, second)
    left, right = ({r.identity: r for r in index.relations if asked.wants(r)} for index in (first, second))
    _check_names(asked, [*left.values(), *right.values()], (first, second))
    both = [identity for identity in left if identity in right]
    dated = [each for each in both if not asked.days or has_days(left[each], right[each])]
    _check_dated(asked, left, right, dated)
    with bounded(duckdb.connect(), scratch) as database:
        found = tuple(
            _compare(database, (left[identity], one), (right[identity], other), asked) for identity in dated
        )
    return Comparison(
        *(Side(index.generation, index.manifest, index.code) for index in (first, second)),
        {**first.until, **second.until},
        second.currency,
        found,
        tuple(_only(left, right)),
        tuple(_only(right, left)),
        asked.days,
        tuple(left[identity].title for identity in both if identity not in dated),
        tuple(
            (name, a, b)
            for name, a, b in (
                ("SHOP_TIMEZONE", first.time_zone, second.time_zone),
                ("SHOP_CURRENCY", first.currency, second.currency),
            )
            if a != b
        ),
    )


def _compare(
    database: duckdb.DuckDBPyConnection,
    one: tuple[Relation, Path],
    other: tuple[Relation, Path],
    asked: Asked,
) -> RelationDifference:
    found: Match = match(one, other, asked.days)
    relation = other[0]
    with Differing(database, found) as rows:
        tally = rows.tally()
        differs = bool(tally.differing)
        return RelationDifference(
            relation.kind,
            relation.name,
            relation.title,
            relation.doc,
            tally,
            found.declared,
            rows.columns() if tally.changed else (),
            rows.totals(),
            rows.days() if differs and found.by_day else (),
            tuple(_in_turn(rows.examples(asked.examples), asked.examples)) if differs else (),
        )


def _in_turn(kinds: Collection[tuple], most: int) -> Iterator:
    """Of each kind one after the other, so that none hides the others."""
    taken = (each for each in chain.from_iterable(zip_longest(*kinds)) if each is not None)
    for _, each in zip(range(most), taken, strict=False):
        yield each


def _only(mine: Mapping[tuple, Relation], others: Mapping[tuple, Relation]) -> Iterator[Only]:
    for identity, relation in mine.items():
        if identity not in others:
            yield Only(relation.kind, relation.name, relation.title, relation.doc, relation.rows)


def _check_offsets(one: Index, other: Index) -> None:
    for at in sorted(one.until.keys() & other.until.keys()):
        if one.until[at] != other.until[at]:
            raise NotComparable(
                f"expected both at the same offsets; at {at[0]}/{at[1]} {one.generation} is at {one.until[at]} and "
                f"{other.generation} at {other.until[at]}: extract both at manifests of one offset vector"
            )


def _check_dated(
    asked: Asked, left: Mapping[tuple, Relation], right: Mapping[tuple, Relation], dated: Collection[tuple]
) -> None:
    """Raise NotComparable if something was named of which no row can be found by its day: it would look equal."""
    there = {(left[each].kind, left[each].name) for each in dated}
    for kind, names in (("table", asked.tables), ("metric", asked.metrics)):
        on_both = {left[each].name for each in left.keys() & right.keys() if left[each].kind == kind}
        without = [name for name in names or () if name in on_both and (kind, name) not in there]
        if asked.days and without:
            raise NotComparable(
                f"expected a {kind} whose rows have days, and {', '.join(without)} has none that both sides tell "
                "alike: compare without --day"
            )


def _check_names(asked: Asked, found: Collection[Relation], indexes: tuple[Index, Index]) -> None:
    for kind, names in (("table", asked.tables), ("metric", asked.metrics)):
        there = {relation.name for relation in found if relation.kind == kind}
        missing = [name for name in names or () if name not in there]
        if missing:
            generations = " and ".join(index.generation for index in indexes)
            raise NotComparable(
                f"expected the name of a {kind} that one of {generations} has; saw {', '.join(missing)}: "
                f"`dataflow {kind}s` lists them"
            )

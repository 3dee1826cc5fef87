"""The rows that a batch has to know, by key, in memory: the cost of a look-up follows the batch, not the table.

Holds what the Delta tables say at a manifest and is filled from them again at a start, so it is never written anywhere.
Rows lie in runs, sorted by the hash of what they are looked up by. What is put in is a new run, and a run that the ones
after it have grown up to is merged with them: there are few, and over time a row is moved a few times only, however
many there are (the size-tiered log-structured merge of O'Neil et al., 1996, in memory).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import polars as pl

# Two runs become one when the older has less than so many times the rows of the newer.
GROWTH = 4
SMALLEST_RUN = 1_000  # rows; smaller runs are merged whatever they follow
HASH = "_key_hash"  # no field of an event begins so


@dataclass(frozen=True)
class _Run:
    """Rows sorted by HASH; no two have the same key.

    `keys` are the hashes of their keys, sorted, and `places` where each of these rows is: if keys are looked up apart.
    """

    rows: pl.DataFrame
    keys: pl.Series | None = None
    places: pl.Series | None = None

    @classmethod
    def of(cls, rows: pl.DataFrame, key: Sequence[str] | None) -> Self:
        """A run of sorted rows; `key` if keys are looked up apart."""
        rows = rows.rechunk()
        if key is None:
            return cls(rows)
        hashes = _hashes(rows, key)
        places = hashes.arg_sort()
        return cls(rows, hashes[places], places)

    def at(self, hashes: pl.Series) -> pl.DataFrame:
        """The rows with these hashes, none of which comes twice."""
        return self.rows[_among(self.rows[HASH], hashes)]

    def with_keys(self, hashes: pl.Series) -> pl.DataFrame:
        """The rows whose keys have these hashes."""
        return self.rows[self.places[_among(self.keys, hashes.unique())]]


class KeyIndex:
    """One row a key. `key` are the columns that name a row, `by` what rows are looked up by (default: the key)."""

    def __init__(self, key: tuple[str, ...], rows: pl.DataFrame, by: tuple[str, ...] = ()) -> None:
        """`rows` may be empty, but tells the columns; no two of them have the same key."""
        self._key = list(key)
        self._by = list(by or key)
        # Where the key does not tell what a row is looked up by, a newer row may lie somewhere else than the older one.
        self._moves = not set(self._by) <= set(self._key)
        self._columns = rows.columns
        self._empty = self._hashed(rows.clear())
        self._runs: list[_Run] = []  # from the oldest to the newest
        if rows.height:
            self._runs.append(self._run(self._hashed(rows).sort(HASH)))

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        """All rows whose `by` columns are in `keys`, which may name one twice."""
        wanted = self._hashed(keys.select(self._by).drop_nulls().unique())
        hashes, by = wanted[HASH].unique(), wanted.select(self._by)
        found: list[pl.DataFrame] = []
        newer: list[_Run] = []
        for run in reversed(self._runs):
            rows = run.at(hashes).join(by, on=self._by, how="semi")
            if rows.height and newer:
                rows = self._standing(rows, found, newer)
            found.append(rows)
            newer.append(run)
        return pl.concat([self._empty, *found]).select(self._columns)

    def put(self, rows: pl.DataFrame) -> None:
        """Take in rows, each in place of the one of the same key."""
        if not rows.height:
            return
        self._runs.append(self._run(self._hashed(rows.select(self._columns)).sort(HASH)))
        while len(self._runs) > 1:
            older, newer = (run.rows for run in self._runs[-2:])
            if older.height >= max(GROWTH * newer.height, SMALLEST_RUN):
                return
            kept = older.join(newer.select(self._key), on=self._key, how="anti", maintain_order="left")
            self._runs[-2:] = [self._run(kept.merge_sorted(newer, HASH))]

    def rows(self) -> pl.DataFrame:
        """All rows, in no order."""
        found = self._empty
        for run in reversed(self._runs):
            found = pl.concat([found, run.rows.join(found.select(self._key), on=self._key, how="anti")])
        return found.select(self._columns)

    def __len__(self) -> int:
        """How many rows lie there, those among them that newer ones have taken the place of."""
        return sum(run.rows.height for run in self._runs)

    def bytes(self) -> int:
        """How much memory the rows take."""
        parts = [part for run in self._runs for part in (run.rows, run.keys, run.places) if part is not None]
        return sum(part.estimated_size() for part in parts)

    def _standing(
        self, rows: pl.DataFrame, found: Sequence[pl.DataFrame], newer: Sequence[_Run]
    ) -> pl.DataFrame:
        """Those of `rows` that no run of `newer` has a row in place of; `found` are the rows found in these."""
        if not self._moves:
            taken = pl.concat([each.select(self._key) for each in found])
            return rows.join(taken, on=self._key, how="anti")
        hashes = _hashes(rows, self._key)
        taken = pl.concat([run.with_keys(hashes).select(self._key) for run in newer])
        return rows.join(taken, on=self._key, how="anti")

    def _run(self, rows: pl.DataFrame) -> _Run:
        return _Run.of(rows, self._key if self._moves else None)

    def _hashed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(_hashes(rows, self._by).alias(HASH))


def _hashes(rows: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    return rows.select(pl.struct(columns).hash().alias(HASH))[HASH]


def _among(ordered: pl.Series, wanted: pl.Series) -> pl.Series:
    """Where in `ordered` the values of `wanted` are, each of which is there once, often or not at all."""
    low, high = (ordered.search_sorted(wanted, side) for side in ("left", "right"))
    hit = high > low
    return pl.select(pl.int_ranges(low.filter(hit), high.filter(hit)).explode()).to_series().drop_nulls()

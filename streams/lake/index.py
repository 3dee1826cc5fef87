"""The rows that a batch has to know, by key, in memory: the cost of a look-up follows the batch, not the table.

Holds what the Delta tables say at a manifest and is filled from them again at a start, so it is never written anywhere.
Rows lie sorted by the hash of their key, the newest ones apart, until they are worth sorting in.
"""

import polars as pl

# The recent rows are merged into the sorted ones when they are this many, or this share of them.
RECENT_ROWS = 200_000
RECENT_SHARE = 0.2
HASH = "key_hash"


class KeyIndex:
    """One row a key. `key` are the columns that name a row, `by` what rows are looked up by (default: the key)."""

    def __init__(self, key: tuple[str, ...], rows: pl.DataFrame, by: tuple[str, ...] = ()) -> None:
        """`rows` may be empty, but tells the columns; no two of them have the same key."""
        self._key = list(key)
        self._by = list(by or key)
        self._columns = rows.columns
        self._sort(self._hashed(rows))
        self._recent = self._base.clear()

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        """All rows whose `by` columns are in `keys`, which may name one twice."""
        wanted = self._hashed(keys.select(self._by).drop_nulls().unique())
        recent = self._recent.join(wanted.select(self._by), on=self._by, how="semi")
        base = self._base[self._at(wanted[HASH].unique())].join(
            wanted.select(self._by), on=self._by, how="semi"
        )
        if self._recent.height and base.height:
            base = base.join(self._recent.select(self._key), on=self._key, how="anti")
        return pl.concat([base, recent]).select(self._columns)

    def put(self, rows: pl.DataFrame) -> None:
        """Take in rows, each in place of the one of the same key."""
        if not rows.height:
            return
        new = self._hashed(rows.select(self._columns))
        kept = self._recent.join(new.select(self._key), on=self._key, how="anti")
        self._recent = pl.concat([kept, new])
        if self._recent.height > max(RECENT_ROWS, RECENT_SHARE * self._base.height):
            merged = self._base.join(self._recent.select(self._key), on=self._key, how="anti")
            self._sort(pl.concat([merged, self._recent]))
            self._recent = self._base.clear()

    def rows(self) -> pl.DataFrame:
        """All rows, in no order."""
        older = self._base.join(self._recent.select(self._key), on=self._key, how="anti")
        return pl.concat([older, self._recent]).select(self._columns)

    def _sort(self, rows: pl.DataFrame) -> None:
        self._base = rows.sort(HASH).rechunk()
        self._hashes = self._base[HASH]

    def _hashed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.struct(self._by).hash().alias(HASH))

    def _at(self, wanted: pl.Series) -> pl.Series:
        """Where rows with these hashes are; two keys may share one."""
        low = self._hashes.search_sorted(wanted, "left")
        high = self._hashes.search_sorted(wanted, "right")
        return pl.select(pl.int_ranges(low, high).explode()).to_series().drop_nulls()

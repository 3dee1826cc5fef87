"""The manifests of a lake by their numbers, without reading all of them. Reads the Delta table `_manifests`.

Where a number occurs more than once (a driver that took tables back says anew where they are) the last one stands:
every version in it is at least that of the one before.
"""

import duckdb
from deltalake import DeltaTable

from schemas.errors import DataflowError, Terminal
from streams.lake.manifest import Manifest
from streams.lake.place import MANIFESTS


class NoSuchManifest(DataflowError, Terminal):
    """The lake has no manifest of this number or time; the message says which there are."""


class ByNumber:
    """The files of `_manifests` by the numbers in them, as the log knows them without opening any."""

    def __init__(self, log: DeltaTable, root: str) -> None:
        # Columns of Arrow, which is not imported here for its size.
        files = log.get_add_actions(flatten=True)
        paths, low, high = (files[name].to_pylist() for name in ("path", "min.number", "max.number"))
        self._files = [
            (f"{root}/{MANIFESTS}/{path}", first, last)
            for path, first, last in zip(paths, low, high, strict=True)
        ]

    def numbers(self) -> list[int]:
        """All there are, in order."""
        found = {first for _, first, last in self._files if first == last}
        # Between the first and the last of a file with several there may be some that were never written.
        if several := [path for path, first, last in self._files if first != last]:
            with duckdb.connect() as connection:
                rows = connection.execute("SELECT DISTINCT number FROM read_parquet(?)", [several]).fetchall()
            found.update(number for (number,) in rows)
        return sorted(found)

    def last_of_schemas(self, after: int, before: int) -> list[int]:
        """The numbers between the two whose successor knew other schemas."""
        files = [path for path, first, last in self._files if last > after and first <= before]
        if not files:
            return []
        with duckdb.connect() as connection:
            rows = connection.execute(
                "SELECT number FROM (SELECT DISTINCT number, manifest->>'$.schemas' AS known FROM read_parquet(?)) "
                "WHERE number > ? AND number <= ? QUALIFY known <> lead(known) OVER (ORDER BY number) ORDER BY number",
                [files, after, before],
            ).fetchall()
        return [number for (number,) in rows]

    def range(self) -> str:
        numbers = self.numbers()
        return f"{numbers[0]} to {numbers[-1]}" if numbers else "none"

    def read(self, number: int) -> Manifest:
        files = [path for path, first, last in self._files if first <= number <= last]
        texts = []
        if files:
            with duckdb.connect() as connection:
                rows = connection.execute(
                    "SELECT manifest FROM read_parquet(?) WHERE number = ?", [files, number]
                ).fetchall()
            texts = [text for (text,) in rows]
        if not texts:
            raise NoSuchManifest(f"expected the number of a manifest, {self.range()}; saw {number}")
        return max(map(Manifest.from_json, texts), key=lambda manifest: sum(manifest.tables.values()))

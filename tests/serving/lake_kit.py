"""A small lake by hand: rows of any tables as batches, written by the store that the lake job writes with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from infra.failpoints import Failpoints
from infra.settings import Settings
from schemas.table import BATCH, GONE
from schemas.tables import TABLES
from streams.lake.frames import stored_schema
from streams.lake.store import LakeStore

T0 = 1_779_010_200_000_000  # 2026-05-17T09:30:00Z in µs
SECOND = 1_000_000
WHEN = datetime(2026, 5, 17, 9, 30, tzinfo=UTC)
SECRET = "anna.berger@example.org"

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


class SmallLake:
    """A lake under `root`; `write` is one batch. `manifest` is what it left. `topics` are ids, by topic."""

    def __init__(
        self,
        root: str | Path,
        settings: Settings,
        generation: str = "g1",
        topics: Mapping[str, str] | None = None,
    ) -> None:
        self.root, self.generation, self._topics = str(root), generation, topics
        self._failpoints = Failpoints(settings)
        self.open()

    def open(self) -> None:
        """Become the driver, as a job does that starts."""
        self.store = LakeStore(self.root, self._failpoints)
        self.manifest = self.store.open(self.generation, self._topics)

    def write(self, rows: Rows, position: int = 10) -> None:
        """One batch, of `position` records of orders/0, a second each."""
        number = self.manifest.number + 1
        offset = self.manifest.until.get(("orders", 0), 0) + position
        frames = {name: frame(name, number, given) for name, given in rows.items()}
        counts = {"orders/0/changed": offset} if offset else {}
        self.manifest = self.store.write(
            replace(
                self.manifest,
                number=number,
                until={("orders", 0): offset},
                counts=counts,
                kafka_time=T0 + offset * SECOND,
            ),
            frames,
        )

    def append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A commit that no manifest names, as a batch leaves that dies half-way."""
        self.store._append(name, frame(name, self.manifest.number + 1, rows).to_arrow(), {"batch": "died"})

    def close(self) -> None:
        self.store.close()


def frame(name: str, batch: int, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of a table; what they do not say is null, or nothing where null may not be."""
    schema = stored_schema(TABLES[name])
    needed = {column.name: column for column in TABLES[name].columns if not column.nullable}
    filled = [
        {each: _nothing(needed[each].type) if each in needed else None for each in schema}
        | ({BATCH: batch, GONE: False} if BATCH in schema else {})
        | row
        for row in rows
    ]
    return pl.DataFrame(filled, schema=schema, orient="row")


def _nothing(kind: str) -> Any:
    return {
        "string": "",
        "decimal": Decimal("0.00"),
        "timestamp": WHEN,
        "date": WHEN.date(),
        "boolean": False,
        "strings": [],
    }.get(kind, 0)


def sales(day: int, product: int, revenue: str = "10.00", **more: Any) -> dict[str, Any]:
    return {
        "day": date(2026, 5, day),
        "product_id": f"p{product}",
        "lines": 1,
        "units": product,
        "revenue": Decimal(revenue),
        **more,
    }


def customer(number: int, **more: Any) -> dict[str, Any]:
    at = WHEN + timedelta(minutes=number)
    return {"customer_id": f"c{number}", "email": SECRET, "created_at": at, "_offset": number, **more}


def raw_order(offset: int, partition: int = 0) -> dict[str, Any]:
    return {
        "partition": partition,
        "offset": offset,
        "key": f"o{offset}".encode(),
        "value": SECRET.encode(),
        "headers": [{"key": "h", "value": b"\x00\x01"}],
    }

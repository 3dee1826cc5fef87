"""Lakes of several generations of one environment, filled without Spark: the same records, cut in any way."""

import random
from dataclasses import replace
from pathlib import Path

import polars as pl

from infra.failpoints import Failpoints
from infra.kafka import Offsets
from infra.settings import Settings
from replay.diff.extract import extract
from replay.diff.index import Index
from streams.lake.known import Known
from streams.lake.place import lake_root
from streams.lake.store import LakeStore
from tests.streams.lake.shop import PARTITIONS
from tests.streams.lake.test_batches import Driver, cut


class GenerationLake(Driver):
    """The lake of one generation, where its readers look for it."""

    def __init__(self, settings: Settings, generation: str) -> None:
        self.settings, self.root = settings, lake_root(settings, generation)
        self.store = LakeStore(self.root, Failpoints(settings))
        self.manifest = self.store.open(generation)
        self.tables = Known(self.store, self.manifest).tables(settings.shop_timezone)

    def run(self, judged: dict[str, pl.DataFrame]) -> None:
        places = {(topic, p): 0 for topic in judged for p in range(PARTITIONS)}
        self.manifest = replace(self.manifest, until={**places, **self.manifest.until})
        super().run(judged)

    def fill(self, judged: dict[str, pl.DataFrame], seed: int, size: int) -> "GenerationLake":
        for batch in cut(judged, random.Random(seed), size):
            self.run(batch)
        return self

    def run_to(self, judged: dict[str, pl.DataFrame], until: Offsets) -> None:
        """A batch of the records up to offsets."""
        batch = {}
        for topic, records in judged.items():
            parts = []
            for p in range(PARTITIONS):
                low = self.manifest.until.get((topic, p), 0)
                mine = (pl.col("partition") == p) & pl.col("offset").is_between(
                    low, until[topic, p], closed="left"
                )
                parts.append(records.filter(mine))
            batch[topic] = pl.concat(parts)
        self.run(batch)

    def extract(self, out: Path, **only) -> Index:
        out.mkdir(parents=True)
        number = int(self.manifest.generation[1:])
        settings = self.settings.replace(dataflow_generation=number)
        return extract(settings, self.manifest.number, out, **only)


def with_another(
    judged: dict[str, pl.DataFrame], more: dict[str, pl.DataFrame], topic: str
) -> dict[str, pl.DataFrame]:
    """The records, and behind those of a topic the ones of `more`, at the offsets that come next."""
    added = []
    for p in range(PARTITIONS):
        mine = more[topic].filter(pl.col("partition") == p)
        behind = judged[topic].filter(pl.col("partition") == p)["offset"].max()
        shift = 0 if behind is None else behind + 1
        added.append(mine.with_columns((pl.col("offset") + shift).alias("offset")))
    return {**judged, topic: pl.concat([judged[topic], *added])}

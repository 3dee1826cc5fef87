"""Ranges of topics are judged alike, whichever were judged before."""

from itertools import pairwise

import pytest
from polars.testing import assert_frame_equal
from pyspark.sql import functions as F

from infra.generation import current_generation, source_bounds
from streams.lake.analysed import Analysed
from streams.lake.reading import CONFIG, Reading
from streams.records import from_kafka
from streams.world import World
from tests.e2e.kit import Shop
from tests.streams.lake.kit import bootstrap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CUTS = (0.0, 0.1, 0.1, 0.75, 1.0)


@pytest.fixture
def spark(spark):
    """Settled as the lake's own session is."""
    before = {name: spark.conf.get(name) for name in CONFIG}
    for name, value in CONFIG.items():
        spark.conf.set(name, value)
    yield spark
    for name, value in before.items():
        spark.conf.set(name, value)


@pytest.fixture
def shop(settings):
    """Records of all topics, and where a few batches of them end."""
    bootstrap(settings)
    Shop(settings, 20_000, 23).produce(1_500)
    generation = current_generation(settings)
    since, until = source_bounds(settings, generation)
    ends = [{at: since[at] + int((until[at] - since[at]) * share) for at in until} for share in CUTS]
    return generation, ends


def test_a_range_is_judged_as_if_it_were_the_first(settings, spark, shop):
    generation, ends = shop
    world = World(settings, generation)
    reading = Reading(spark, settings, generation, world.schemas())
    found = 0
    try:
        for since, until in pairwise(ends):
            fresh = Reading(spark, settings, generation, reading.schemas)
            try:
                expected = fresh.read(since, until)
            finally:
                fresh.close()
            judged = reading.read(since, until)
            assert judged.keys() == expected.keys()
            for topic, rows in judged.items():
                assert_frame_equal(rows, expected[topic])
                assert rows.height == sum(until[at] - since[at] for at in until if at[0] == topic)
                found += rows.height
    finally:
        reading.close()
        world.close()
    assert found == sum(ends[-1].values()) - sum(ends[0].values()) >= 1_500


def test_what_is_made_of_a_topic_is_analysed_once_and_of_anything_else_each_time(
    settings, spark, shop, tmp_path
):
    _, ends = shop
    made = []

    def make(records):
        made.append(records)
        return records.select("partition", F.col("offset").alias("at")).where("at % 2 = 0")

    analysed = Analysed(make)
    for since, until in pairwise((ends[0], ends[1], ends[3], ends[4])):
        records = from_kafka(spark, settings, "test", "clickstream", since, until)
        expected = {
            (p, offset)
            for (topic, p), begin in since.items()
            if topic == "clickstream"
            for offset in range(begin, until[topic, p])
            if offset % 2 == 0
        }
        found = analysed.over(records)
        assert {tuple(row) for row in found.collect()} == expected
        # No plan keeps what the ones after it are of.
        tag = spark._jvm.org.apache.spark.sql.classic.Dataset.DATASET_ID_TAG()
        assert found._jdf.logicalPlan().getTagValue(tag).get().size() == 1
    assert len(made) == 1
    spark.range(10).selectExpr("0 AS partition", "id AS offset").write.parquet(str(tmp_path / "rows"))
    rows = spark.read.parquet(str(tmp_path / "rows"))
    for least in (3, 7):
        found = analysed.over(rows.where(F.col("offset") >= least)).collect()
        assert sorted(row.at for row in found) == [n for n in range(10) if n >= least and n % 2 == 0]
    assert len(made) == 3

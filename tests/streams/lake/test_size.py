"""A range that cannot be read whole is read in smaller batches, and batches grow again behind it."""

from types import SimpleNamespace

import polars as pl
import pytest

from infra.generations import Generation
from schemas.errors import Unavailable
from streams.lake import size as module
from streams.lake.batches import Batches
from streams.lake.cuts import in_shares
from streams.lake.size import FEWEST, GROWS_AFTER, Size
from streams.lake.upkeep import Upkeep
from streams.stop import StopRequest
from tests.helpers import isolated_settings
from tests.streams.lake.restless import events
from tests.streams.lake.shop import KNOWN, PARTITIONS, judged_events
from tests.streams.lake.test_batches import Driver, expect_right

WHOLE = 64_000


class TooLarge(Exception):
    """Spark's answer to a range of more bytes than it may hand over."""


@pytest.fixture
def size(tmp_path):
    return Size(tmp_path / "checkpoints" / "size", WHOLE)


def tries(size, *records, error=None, given_up=False):
    for number in records:
        try:
            with size.tried(number, lambda: given_up):
                if error:
                    raise error
        except type(error):
            pass
    return size.now


def test_each_failure_halves_the_next_batch_down_to_a_floor(size):
    assert tries(size, WHOLE, error=TooLarge()) == WHOLE // 2
    assert tries(size, WHOLE // 2, error=TooLarge()) == WHOLE // 4
    assert tries(size, *[FEWEST + 1] * 20, error=TooLarge()) == FEWEST


def test_a_small_batch_that_fails_again_and_again_is_halved_itself(size):
    """It may fail once for any reason, and a lake that lags then shall not go on in small steps."""
    assert tries(size, 10_000, error=TooLarge()) == WHOLE // 2
    assert tries(size, 10_000, error=TooLarge()) == 5_000
    assert tries(size, FEWEST) == 5_000
    assert tries(size, FEWEST, error=TooLarge()) == 5_000, "not for the number of records"


def test_what_was_asked_for_may_be_less_than_the_floor(tmp_path):
    assert tries(Size(tmp_path / "size", 10), *[10] * 5, error=TooLarge()) == 10


@pytest.mark.parametrize(
    ("error", "given_up"),
    [(TooLarge(), True), (Unavailable("the registry"), False)],
    ids=["left", "no answer"],
)
def test_what_fails_for_another_reason_makes_nothing_smaller(size, error, given_up):
    assert tries(size, WHOLE, error=error, given_up=given_up) == WHOLE


def test_batches_grow_slowly_behind_those_that_could_be_read(size):
    tries(size, WHOLE, WHOLE // 2, error=TooLarge())
    assert tries(size, *[FEWEST] * (GROWS_AFTER - 1)) == WHOLE // 4
    assert tries(size, FEWEST) == WHOLE // 2
    assert tries(size, *[FEWEST] * 10 * GROWS_AFTER) == WHOLE


def test_the_next_process_knows_it(tmp_path, caplog):
    """The JVM may end of such a range, and the process with it."""
    file = tmp_path / "checkpoints" / "size"
    tries(Size(file, WHOLE), WHOLE, error=TooLarge())
    assert "LAKE_BATCH_RECORDS" in caplog.text
    assert Size(file, WHOLE).now == WHOLE // 2
    assert Size(file, 5_000).now == 5_000, "it is set lower since"
    assert tries(Size(file, WHOLE), *[WHOLE] * GROWS_AFTER) == WHOLE
    assert not file.exists()
    file.write_text("half a num", "utf-8")
    assert Size(file, WHOLE).now == WHOLE


class Narrow:
    """Reads judged records, but not more than `most` at once."""

    def __init__(self, judged, most):
        self._judged, self._most, self.schemas, self.failed = judged, most, KNOWN, 0

    def read(self, since, until):
        if sum(until.values()) - sum(since.values()) > self._most:
            self.failed += 1
            raise TooLarge
        found = {}
        for topic, records in self._judged.items():
            at = pl.col("partition"), pl.col("offset")
            inside = [
                (at[0] == p) & (at[1] >= since[topic, p]) & (at[1] < until[topic, p])
                for p in range(PARTITIONS)
            ]
            found[topic] = records.filter(pl.any_horizontal(inside))
        return {topic: records for topic, records in found.items() if records.height}


def test_a_range_of_large_records_is_taken_in(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEWEST", 10)
    judged = judged_events(events(27, 600))
    end = {
        (topic, p): (records["partition"] == p).sum()
        for topic, records in judged.items()
        for p in range(PARTITIONS)
    }
    driver = Driver(tmp_path)
    world = SimpleNamespace(is_live=lambda: True, schemas=lambda: KNOWN)
    settings = isolated_settings(tmp_path, lake_batch_records=1_000)
    batches = Batches(
        settings,
        Generation(1, {}),
        world,
        driver.store,
        driver.manifest,
        Upkeep(driver.store.failpoints, tmp_path / "scratch"),
        StopRequest(),
        Size(tmp_path / "size", settings.lake_batch_records),
    )
    batches.reading = reading = Narrow(judged, 100)
    for _ in range(10):
        since = {at: batches.manifest.until.get(at, 0) for at in end}
        if since == end:
            break
        try:
            for _ in batches.make([since, *in_shares(since, end, batches.most)]):
                pass
        except TooLarge:
            continue
    assert batches.manifest.until == end
    assert reading.failed == 3
    assert batches.planned == settings.lake_batch_records, "the query's plans are what they were"
    expect_right(driver.root, batches.manifest)

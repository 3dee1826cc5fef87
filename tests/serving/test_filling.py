"""An empty Redis is filled out of the lake: the same stands in it as if all verdicts had been folded."""

import json
import random
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dataflow.testing.plain_lake import PlainLake
from dataflow.testing.plain_live import PlainLive
from infra.generation import begin_generation, source_bounds
from infra.generations import Changes, Generations, change_generations
from serving.materializer.filling import Filling, Pieces
from serving.materializer.takeover import FEW, NEARLY_ALL
from serving.store.keys import Keys
from serving.store.store import Lost, Store, connect
from streams.lake.barrier import Barriers
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root
from streams.live import attempt
from tests.helpers import wait_for
from tests.serving.test_materializer import Scene, materializer

BATCHES = 4


class Filled(Scene):
    """A shop whose records are in the topics, and in a lake as far as a test wants."""

    def fill_lake(self, share=0.9):
        """Batches up to a share of each partition; returns where the lake ends."""
        _, ends = source_bounds(self.settings, self.live.generation)
        chance = random.Random(5)
        with PlainLake(self.settings, self.live.generation) as lake:
            for n in range(1, BATCHES + 1):
                part = share * n / BATCHES
                less = 0.7 if n < BATCHES else 1
                lake.run({at: int(end * part * chance.uniform(less, 1)) for at, end in ends.items()})
            return lake.manifest

    def plain_dump(self):
        """What Redis holds, in a form that does not tell in which order it came."""
        found = self.dump()
        for key, value in found.items():
            if key.startswith(f"{self.keys.space}k:".encode()):
                found[key] = {
                    field: json.loads(text) if field == b"" else text for field, text in value.items()
                }
        # Names the offsets at which the attributes were written, not what they are.
        found[self.keys.meta.encode()].pop(b"dims")
        found.pop(self.keys.judged.encode(), None)
        return found


@pytest.fixture
def shop(settings):
    made = Filled(settings, 2_000, 23)
    made.produce(made.emissions)
    yield made
    made.close()


@pytest.mark.parametrize("share", [pytest.param(1, marks=pytest.mark.longhaul), 0.8])
def test_an_emptied_redis_gets_back_what_it_had_from_the_lake_and_the_rest_from_verdicts(shop, share):
    with materializer(shop.settings):
        shop.live.judge()
        shop.caught_up()
        shop.rebuilt()
        before = shop.plain_dump()
        manifest = shop.fill_lake(share)
        shop.forget()
        shop.caught_up()
        shop.rebuilt()
        wait_for(lambda: shop.status().get("filled_from") == manifest.number, 20, "the word of it")
        assert shop.plain_dump() == before
        shop.expect_exact()
        shop.expect_letters()


@pytest.mark.chaos
@pytest.mark.parametrize(
    "failpoint",
    [
        pytest.param("materializer.before_filling", marks=pytest.mark.longhaul),
        pytest.param("materializer.after_filled_letters", marks=pytest.mark.longhaul),
        pytest.param("materializer.after_filled_run", marks=pytest.mark.longhaul),
        "materializer.after_filled_run:7",
        pytest.param("materializer.after_founding", marks=pytest.mark.longhaul),
    ],
)
def test_a_kill_while_it_is_filled_changes_nothing(shop, failpoint):
    shop.live.judge()
    manifest = shop.fill_lake()
    with materializer(shop.settings.replace(dataflow_failpoint=failpoint)):
        shop.caught_up(60)
        shop.rebuilt()
        marker = shop.settings.state_dir / "failpoints" / failpoint.partition(":")[0]
        assert marker.exists(), "nothing was killed"
        killed_behind_it = failpoint == "materializer.after_founding"
        wait_for(lambda: shop.status()["state"] == "running" and "filled_from" in shop.status())
        assert shop.status()["filled_from"] == (None if killed_behind_it else manifest.number)
        shop.expect_exact()
        shop.expect_letters()


def test_who_was_fenced_off_or_finds_another_state_writes_and_removes_nothing(shop):
    store = Store(connect(shop.settings), shop.keys)
    older, newer = store.claim(), store.claim()
    count = [("A", shop.keys.counts, ["x", 1])]
    for stale in (Pieces(store, older.epoch, ""), Pieces(store, newer.epoch, "somebody's:3")):
        with pytest.raises(Lost):
            stale.write(count)
    assert not store.redis.exists(shop.keys.counts)
    store.redis.hset(shop.keys.counts, "y", 1)
    for epoch, filling in ((older.epoch, ""), (newer.epoch, "somebody's:3")):
        with pytest.raises(Lost):
            store.clear(epoch, filling, lambda: None)
    assert store.redis.hget(shop.keys.counts, "y") == b"1"
    pieces = Pieces(store, newer.epoch, "")
    pieces.write(count)
    pieces.write(count)
    assert store.redis.hget(shop.keys.counts, "x") == b"2"
    # An older copy of the same state, an emptied one, one that somebody else fills.
    behind, meta = pieces.left, shop.keys.meta
    for filling in (behind.rpartition(":")[0] + ":1", None, "somebody's:2"):
        store.redis.hset(meta, "filling", filling) if filling else store.redis.hdel(meta, "filling")
        for act in (lambda: pieces.write(count), lambda: pieces.end(count)):
            with pytest.raises(Lost):
                act()
    assert store.redis.hget(shop.keys.counts, "x") == b"2"
    store.redis.hset(meta, "filling", behind)
    store.clear(newer.epoch, behind, lambda: None)
    assert [*store.redis.scan_iter(match=shop.keys.space + "*")] == [meta.encode()]
    pieces.end(count)
    assert not store.redis.hexists(meta, "filling")
    store.redis.close()


@pytest.mark.cases(0)
def test_sums_that_somebody_left_do_not_count(shop):
    shop.redis.hset(shop.keys.counts, "orders/0/changed", 7)
    shop.redis.hset(shop.keys.fence, "orders/0", 3)
    shop.fill_lake()
    with materializer(shop.settings):
        shop.live.judge()
        shop.caught_up()
        shop.rebuilt()
        shop.expect_exact()


@pytest.mark.cases(0)
def test_a_lake_that_cannot_be_read_is_done_without(shop):
    manifest = shop.fill_lake()
    for file in Path(lake_root(shop.settings, "g1"), "orders").glob("*.parquet"):
        file.unlink()
    assert manifest.number
    with materializer(shop.settings):
        shop.live.judge()
        shop.caught_up(60)
        shop.rebuilt()
        shop.expect_exact()
        assert shop.status()["filled_from"] is None


@pytest.mark.cases(0)
def test_a_lake_that_has_little_is_not_begun_with(shop):
    shop.fill_lake(0.2)
    with materializer(shop.settings):
        shop.live.judge()
        shop.caught_up()
        shop.rebuilt()
        shop.expect_exact()
        assert shop.status()["filled_from"] is None


def test_where_the_lake_comes_first_the_numbers_wait_for_it_and_verdicts_begin_behind_it(shop, monkeypatch):
    def decide(now: Generations) -> Changes:
        generation = replace(begin_generation(shop.settings, now.next_number()), lake_first=True)
        return {generation.name: generation.as_json()}

    generation = change_generations(shop.settings, decide).of(2).generation
    assert generation.lake_first
    shop.settings = shop.settings.replace(dataflow_generation=2)
    shop.keys = Keys.of(shop.settings, "g2")
    shop.live.close()
    shop.live = PlainLive(shop.settings, generation)
    _, ends = source_bounds(shop.settings, generation)
    lake = Barriers(shop.settings, generation)
    with materializer(shop.settings), closing(lake):
        wait_for(lambda: shop.status().get("waiting_for") == "lake", 20, "that it waits")
        wait_for(lake.wait, 20, "that it hurries the lake, which else would rest")
        starts = {at: generation.start(*at) for at in ends}
        assert list(lake.ends(starts, starts, 10**9)) == [], "a batch is cut for it"
        assert not shop.redis.exists(shop.keys.meta)
        manifest = shop.fill_lake(0.97)
        wanted = wait_for(
            lambda: shop.live.repeat_requested(0.5), 40, "the request for what is behind the lake"
        )
        assert wanted == manifest.until
        monkeypatch.setattr(attempt, "OVERLAP", 3)
        assert shop.live.judge(wanted) < len(shop.emissions) / 4
        shop.caught_up()
        shop.rebuilt()
        shop.expect_exact()
        # The letters of what was judged by the lake alone, too.
        shop.live.judge({})
        shop.expect_letters()


@pytest.mark.parametrize(
    ("records", "left", "enough"),
    [
        (100_000, 5_000, True),  # a twentieth
        (100_000, 5_001, False),
        (20_000, 5_000, True),  # so few are there at once by verdicts
        (20_000, 5_001, False),
        (8_000, 2_000, True),  # but no more than a quarter
        (8_000, 2_001, False),
        (0, 0, True),
    ],
)
def test_a_lake_that_comes_first_need_not_have_the_last_few_records(
    records: int, left: int, enough: bool
) -> None:
    at, filling = (
        ("orders", 0),
        SimpleNamespace(_generation=SimpleNamespace(start=lambda topic, partition: 0)),
    )
    manifest = Manifest(1, "g1", {at: records - left}, {})
    assert Filling.is_worth(filling, manifest, {at: records}, NEARLY_ALL, FEW) is enough
    assert not Filling.is_worth(filling, manifest, {at: records - left - 1}, NEARLY_ALL, FEW)

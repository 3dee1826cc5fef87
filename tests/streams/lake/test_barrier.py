"""The lake ends a batch where it was told to, and nowhere else do readers have to wait for it."""

import random

import pytest

from infra.generation import current_generation, source_bounds
from replay.verify.barrier import Barrier
from serving.lake.reader import Lake
from streams.lake.barrier import Barriers, steps
from streams.lake.place import lake_root
from tests.e2e.kit import Shop
from tests.helpers import wait_for
from tests.streams.lake.kit import LakeProcess, bootstrap, verified


def test_steps_go_up_to_the_end_and_none_is_too_large():
    chance = random.Random(1)
    for _ in range(200):
        since = {("orders", p): chance.randrange(100) for p in range(3)}
        until = {at: offset + chance.randrange(1_000) for at, offset in since.items()}
        most = chance.choice([1, 7, 500, 10_000])
        last = since
        for step in steps(since, until, most):
            assert all(last[at] <= step[at] <= until[at] for at in step)
            # Each partition is cut for itself, which rounds.
            assert sum(step[at] - last[at] for at in step) <= most + len(step)
            last = step
        assert last == until


class Asked(Barriers):
    """With requests that are there already, over topics that end somewhere."""

    def __init__(self, asked, written):
        self._asked, self._written = asked, written
        self._reader = self

    def barriers_requested(self):
        return []

    def _ends(self):
        return self._written


A, B = ("orders", 0), ("orders", 1)


@pytest.mark.parametrize(
    ("asked", "ends"),
    [
        ([], [{A: 10, B: 10}]),
        ([{A: 5, B: 10}], [{A: 5, B: 10}, {A: 10, B: 10}]),
        # Beyond what was planned, in the topics all the same.
        ([{A: 5, B: 20}], [{A: 5, B: 20}, {A: 10, B: 20}]),
        ([{A: 8, B: 9}, {A: 5, B: 5}], [{A: 5, B: 5}, {A: 8, B: 9}, {A: 10, B: 10}]),
        # Two that cross: the second cannot be reached after the first.
        ([{A: 5, B: 8}, {A: 8, B: 6}], [{A: 5, B: 8}, {A: 10, B: 10}]),
        # Passed, not in the topics, of other partitions, where it is already.
        ([{A: 1, B: 10}, {A: 5, B: 99}, {A: 5}, {A: 2, B: 2}], [{A: 10, B: 10}]),
    ],
)
def test_a_batch_ends_at_each_barrier_on_the_way(asked, ends):
    barriers = Asked(list(asked), {A: 30, B: 30})
    assert list(barriers.ends({A: 2, B: 2}, {A: 10, B: 10}, 1_000)) == ends
    assert list(barriers.ends({A: 10, B: 10}, {A: 10, B: 10}, 1_000)) == []


def test_what_is_planned_is_cut_too_so_that_one_part_is_read_while_the_one_before_is_written():
    barriers = Asked([], {})
    assert list(barriers.ends({A: 0, B: 0}, {A: 10, B: 10}, 10)) == [{A: 5, B: 5}, {A: 10, B: 10}]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_ends_a_batch_at_the_offsets_that_it_was_asked_for(settings):
    bootstrap(settings)
    settings = settings.replace(lake_trigger_seconds=1)
    shop = Shop(settings, 50_000, 41)
    with LakeProcess(settings) as lake:
        lake.launch()
        shop.produce(300)
        lake.settle()
        generation = current_generation(settings)
        barrier = Barrier(settings, generation.name, Lake(lake_root(settings, generation.name)))
        with shop.flowing(200):
            for _ in range(3):
                wanted = source_bounds(settings, generation)[1]
                manifest, reached = barrier.reach(wanted, 60)
                # Where a batch had been planned further already, the next one is asked for in time.
                assert reached == (manifest.until == wanted)
            wait_for(lambda: barrier.reach(source_bounds(settings, generation)[1], 60)[1], 120, "a barrier")
        lake.settle()
    verified(settings)

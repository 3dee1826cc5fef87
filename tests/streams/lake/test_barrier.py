"""The lake ends a batch where it was told to, and nowhere else do readers have to wait for it."""

import random
import time

import pytest
from confluent_kafka import Producer

from infra.generation import current_generation, source_bounds
from infra.kafka import admin, grow
from infra.read_topic import read_topic
from replay.verify.barrier import Barrier
from serving.lake.reader import Lake
from streams.lake.barrier import Barriers
from streams.lake.cuts import covering, in_shares, in_time
from streams.lake.place import lake_root
from tests.e2e.kit import Shop
from tests.helpers import wait_for
from tests.streams.lake.kit import LakeProcess, bootstrap, verified


def expect_steps(steps, since, until, most):
    last = since
    for step in steps:
        assert all(last[at] <= step[at] <= until[at] for at in step)
        # Each partition is cut for itself, which rounds.
        assert sum(step[at] - last[at] for at in step) <= most + len(step)
        last = step
    assert last == until


def test_steps_go_up_to_the_end_and_none_is_too_large():
    chance = random.Random(1)
    for _ in range(200):
        since = {("orders", p): chance.randrange(100) for p in range(3)}
        until = {at: offset + 1 + chance.randrange(1_000) for at, offset in since.items()}
        most = chance.choice([1, 7, 500, 10_000])
        expect_steps(in_shares(since, until, most), since, until, most)
        # One record a millisecond in each partition, of which one begins later.
        clock = {at: 3_000 * at[1] for at in since}.items()
        expect_steps(
            in_time(since, until, most, lambda t, clock=clock: {at: t - began for at, began in clock}, 9_999),
            since,
            until,
            most,
        )


def test_all_partitions_are_cut_at_one_time_and_what_was_planned_is_in():
    """Partition 1 got its first record when partition 0 had got its 100th; from then on both got one a millisecond."""

    def clock(time):
        return {A: min(time, 200), B: min(max(0, time - 100), 100)}

    planned = {A: 120, B: 50}
    end = covering(planned, clock, 1_000)
    assert end == {A: 150, B: 50}
    assert list(in_time({A: 0, B: 0}, end, 50, clock, 1_000)) == [
        {A: 50, B: 0},
        {A: 100, B: 0},
        {A: 125, B: 25},
        {A: 150, B: 50},
    ]
    assert covering({A: 200, B: 100}, clock, 1_000) == {A: 200, B: 100}
    assert list(in_time({A: 199, B: 100}, {A: 200, B: 100}, 1, clock, 1_000)) == [{A: 200, B: 100}]


class Asked(Barriers):
    """With requests that are there already, over topics that end somewhere."""

    def __init__(self, asked, written, begin=0):
        self._begin = begin
        self._asked, self._hurried, self._written = asked, False, written
        self._reader = self
        self.heard = ([], False)

    def barriers_requested(self):
        heard, self.heard = self.heard, ([], False)
        return heard

    def _ends(self):
        return self._written

    def _clock(self, since):
        return lambda time: {at: min(max(0, time - self._begin), end) for at, end in self._written.items()}


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


def test_a_barrier_that_is_far_ahead_makes_no_batch_without_end_and_is_waited_for_all_the_same():
    barriers = Asked([{A: 30, B: 30}, {A: 5, B: 4}], {A: 30, B: 30})
    assert barriers.wait()
    ends = list(barriers.ends({A: 2, B: 2}, {A: 6, B: 6}, 10))
    assert ends == [{A: 5, B: 4}, {A: 6, B: 6}]
    assert not barriers.wait()


def test_who_hurries_ends_the_rest_and_cuts_no_batch():
    """A lake that is far behind would else come forward in the small steps of who waits for it."""
    barriers = Asked([], {A: 30, B: 30})
    assert not barriers.wait()
    barriers.heard = ([], True)
    assert barriers.wait()
    assert list(barriers.ends({A: 2, B: 2}, {A: 10, B: 10}, 1_000)) == [{A: 10, B: 10}]
    assert not barriers.wait()
    barriers.heard = ([{A: 5, B: 5}], True)
    assert list(barriers.ends({A: 2, B: 2}, {A: 10, B: 10}, 1_000)) == [{A: 5, B: 5}, {A: 10, B: 10}]


def test_what_is_planned_is_cut_too_so_that_one_part_is_read_while_the_one_before_is_written():
    barriers = Asked([], {A: 30, B: 30})
    assert list(barriers.ends({A: 0, B: 0}, {A: 10, B: 10}, 10)) == [{A: 5, B: 5}, {A: 10, B: 10}]


def test_it_is_so_whatever_this_machines_clock_says():
    """The broker's may be ahead of it, here by centuries."""
    barriers = Asked([], {A: 30, B: 30}, begin=10_000_000_000_000)
    ends = list(barriers.ends({A: 0, B: 0}, {A: 30, B: 30}, 20))
    assert ends == [{A: 10, B: 10}, {A: 20, B: 20}, {A: 30, B: 30}]


def test_what_waits_when_partitions_were_added_is_cut_at_one_time_of_the_broker(settings):
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    name, client = f"{settings.topic_prefix}orders", admin(settings.kafka_bootstrap_servers)
    to_partitions(settings, name, 2)
    grow(client, name, 4)
    to_partitions(settings, name, 4)
    generation = current_generation(settings)
    first, end = source_bounds(settings, generation)
    taken = {}
    for message in read_topic(settings.kafka_bootstrap_servers, name):
        taken["orders", message.partition(), message.offset()] = message.timestamp()[1]
    planned = {at: offset // 2 for at, offset in end.items()}
    barriers = Barriers(settings, generation)
    try:
        ends = list(barriers.ends(first, planned, len(taken) // 6))
        assert len(ends) >= 3
        assert all(ends[-1][at] >= planned[at] for at in planned)
        assert list(barriers.ends(ends[-1], end, len(taken) // 6))[-1] == end
    finally:
        barriers.close()
    for until in ends:
        before = [at for (topic, p, offset), at in taken.items() if offset < until[topic, p]]
        behind = [at for (topic, p, offset), at in taken.items() if offset >= until[topic, p]]
        assert max(before) < min(behind), until


def to_partitions(settings, name, partitions):
    """Some seconds of records, one after the other."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 0})
    for n in range(120):
        producer.produce(name, b"%d" % n, b"key", n % partitions)
        assert producer.flush(30) == 0
        time.sleep(0.005)


@pytest.mark.longhaul
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

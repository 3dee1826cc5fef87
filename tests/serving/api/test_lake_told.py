"""No reader of the lake is told of fewer records than before, whichever generation's lake answers."""

import pytest

from serving.api.lake.told import Told
from serving.read import Rebuilding
from streams.lake.manifest import Manifest

TOPICS = {"orders": "id-1", "reviews": "id-2"}


def manifest(generation: str, orders: int, reviews: int, topics: dict[str, str] = TOPICS) -> Manifest:
    until = {("orders", 0): orders, ("reviews", 0): reviews}
    return Manifest(1, generation, until, {}, topics=topics)


def test_a_lake_that_has_not_come_so_far_waits_until_it_has() -> None:
    told = Told()
    told.check(manifest("g1", 10, 5))
    with pytest.raises(Rebuilding, match="the lake of g2 has still to take in 3 records"):
        told.check(manifest("g2", 8, 4))
    with pytest.raises(Rebuilding, match="1 records"):
        told.check(manifest("g2", 30, 4))
    assert told.check(manifest("g2", 10, 5)).generation == "g2"


def test_the_process_that_answers_next_knows_what_was_told() -> None:
    one, other = Told(), Told()
    one.check(manifest("g1", 10, 5))
    other.remember(one.offsets)
    with pytest.raises(Rebuilding):
        other.check(manifest("g2", 9, 5))


def test_a_topic_that_was_created_again_begins_anew() -> None:
    told = Told()
    told.check(manifest("g1", 10, 5))
    told.check(manifest("g2", 1, 5, TOPICS | {"orders": "id-3"}))

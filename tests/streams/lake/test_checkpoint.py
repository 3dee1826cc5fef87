"""When the lake's checkpoint may be missing: never by accident, and while a new one is asked for and has not begun."""

import json

import pytest

from streams.lake.checkpoint import RESUME, Checkpoint, LostCheckpoint
from streams.lake.manifest import Manifest

MANIFEST = Manifest(7, "g1", {("orders", 0): 5}, {})


@pytest.fixture
def checkpoint(settings):
    return Checkpoint(settings, "g1")


def plan(checkpoint, batch, end):
    """As Spark plans a batch."""
    (checkpoint.directory / "offsets").mkdir(parents=True, exist_ok=True)
    text = f"v1\n{{}}\n{json.dumps({'t.orders': {'0': end}})}"
    (checkpoint.directory / "offsets" / str(batch)).write_text(text)


def test_a_lake_with_batches_and_no_checkpoint_is_refused(checkpoint):
    checkpoint.check(Manifest(0, "g1", {}, {}))
    with pytest.raises(LostCheckpoint):
        checkpoint.check(MANIFEST)


def test_a_new_one_may_begin_however_often_a_driver_dies_before_it_has(checkpoint):
    plan(checkpoint, 0, 3)
    checkpoint.resume()
    for _ in range(3):  # drivers that write batches out of bronze
        checkpoint.check(MANIFEST)
        assert not checkpoint.directory.exists()
    plan(checkpoint, 0, 9)
    checkpoint.begun()
    assert checkpoint.batch_end(0, "t.") == {("orders", 0): 9}
    checkpoint.check(MANIFEST)
    # From now on it can be lost.
    (checkpoint.directory / "offsets" / "0").unlink()
    with pytest.raises(LostCheckpoint):
        checkpoint.check(MANIFEST)


def test_one_that_is_done_with_more_than_the_lake_has_is_told_from_one_that_only_planned_it(checkpoint):
    assert not checkpoint.is_ahead({("orders", 0): 0}, "t.")
    plan(checkpoint, 0, 5)
    plan(checkpoint, 1, 9)
    (checkpoint.directory / "commits").mkdir()
    (checkpoint.directory / "commits" / "0").touch()
    # Batch 1 is done again as it was planned.
    assert not checkpoint.is_ahead({("orders", 0): 5}, "t.")
    assert not checkpoint.is_ahead({("orders", 0): 9}, "t.")
    assert checkpoint.is_ahead({("orders", 0): 4}, "t.")
    (checkpoint.directory / "commits" / "1").touch()
    assert checkpoint.is_ahead({("orders", 0): 5}, "t.")
    assert not checkpoint.is_ahead({}, "t."), "of partitions that the generation has"


def test_a_kill_while_a_new_one_is_asked_for_leaves_nothing_of_the_old(checkpoint):
    plan(checkpoint, 0, 3)
    (checkpoint.directory.parent / RESUME).touch()
    checkpoint.check(MANIFEST)
    assert not checkpoint.directory.exists()

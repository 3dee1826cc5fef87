"""Only the next offset is admitted; a gap counts as empty only when the broker shows that it is."""

import pytest

from schemas.errors import Unavailable
from serving.materializer.admission import BUSY_PATIENCE, PATIENCE, Admission

AT = ("orders", 0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def verdict(offset, at=AT):
    return {"t": at[0], "p": at[1], "o": offset}


def admission(records, fence=0, held=None):
    """Over a partition that holds committed records at these offsets."""
    clock = Clock()
    probe = lambda t, p, o, end: min((r for r in records if r >= o), default=None)  # noqa: E731
    return Admission({AT: fence}, probe, held, clock), clock


def test_each_offset_is_admitted_once_whatever_is_repeated():
    subject, _ = admission(range(10))
    seen = [o for o in (0, 1, 0, 1, 2, 1, 3, 3) if subject.admits(verdict(o))]
    assert seen == [0, 1, 2, 3]
    assert subject.ranges() == {AT: (0, 4)}
    subject.settle()
    assert subject.ranges() == {}


def test_a_gap_that_the_broker_confirms_to_be_empty_is_crossed_and_counted():
    subject, _ = admission([0, 5])
    assert subject.admits(verdict(0))
    assert subject.admits(verdict(5))
    assert subject.empty == {AT: 4}
    assert subject.ranges() == {AT: (0, 6)}


def test_a_hole_holds_the_partition_until_its_records_come():
    subject, _ = admission(range(10))
    assert subject.admits(verdict(0))
    assert not subject.admits(verdict(2))
    assert not subject.admits(verdict(3))
    assert subject.new_holes == [AT]
    assert "expected a verdict for offset 1, saw one for 2" in subject.held[AT]
    assert [o for o in (0, 1, 2, 3) if subject.admits(verdict(o))] == [1, 2, 3]
    assert not subject.held
    assert subject.released == {AT}


def test_an_objection_holds_the_partition_until_there_is_none():
    subject, _ = admission(range(10))
    object_ = lambda: "not yet"  # noqa: E731
    assert subject.admits(verdict(0))
    assert not subject.admits(verdict(0), object_)
    assert not subject.held
    assert not subject.admits(verdict(1), object_)
    assert subject.held == {AT: "not yet"}
    assert not subject.admits(verdict(1), object_)
    assert not subject.admits(verdict(2))
    assert subject.new_holes == [AT]
    assert subject.admits(verdict(1))
    assert subject.admits(verdict(2))
    assert not subject.held


def test_a_partition_that_was_held_before_a_restart_stays_held():
    subject, _ = admission(range(10), held={"orders/0": "before"})
    assert not subject.admits(verdict(4))
    assert subject.admits(verdict(0))
    assert not subject.held


def test_an_empty_tail_is_crossed_once_nothing_comes():
    subject, clock = admission([0])
    assert subject.admits(verdict(0))
    subject.cross_tails({AT: 3}, idle=True)
    assert subject.next[AT] == 1, "a verdict may still be under way"
    clock.now += 2
    subject.cross_tails({AT: 3}, idle=True)
    assert subject.ranges() == {AT: (0, 3)}
    assert subject.empty == {AT: 2}


def test_while_verdicts_come_only_the_longest_waiting_tail_is_looked_at():
    looked, clock = [], Clock()
    places = [("orders", p) for p in range(3)]
    subject = Admission(dict.fromkeys(places, 0), lambda *at: looked.append(at[:2]), None, clock)
    ends = dict.fromkeys(places, 9)
    clock.now += 2
    subject.cross_tails(ends, idle=False)
    assert looked == []
    clock.now += 4
    for _ in places:
        subject.cross_tails(ends, idle=False)
    assert looked == places
    assert subject.next == dict.fromkeys(places, 9)


def test_a_tail_with_a_record_is_not_crossed():
    subject, clock = admission([2])
    clock.now += 2
    subject.cross_tails({AT: 4}, idle=True)
    assert subject.next[AT] == 2
    assert subject.empty == {AT: 2}


def test_a_record_without_a_verdict_is_noticed_after_a_while():
    subject, clock = admission([0])
    assert subject.stuck({AT: 1}, idle=True) == []
    clock.now += PATIENCE
    assert subject.stuck({AT: 1}, idle=False) == []
    assert subject.stuck({AT: 1}, idle=True) == [AT]
    clock.now += BUSY_PATIENCE
    assert subject.stuck({AT: 1}, idle=False) == [AT], "others that have verdicts must not hide it for ever"
    assert subject.stuck({AT: 0}, idle=True) == []


def test_a_partition_that_nobody_knows_starts_everything_anew():
    subject, _ = admission([0])
    with pytest.raises(Unavailable, match="partition 3 of orders is new"):
        subject.admits(verdict(0, ("orders", 3)))

"""The index of the dead letters says what reading all of them says, whatever is written, repeated, dropped."""

import random

import pytest

from serving.dead_letters import DeadLetter, Wanted, newest, summarize
from serving.dead_letters.index import LetterIndex, shares

REASONS = [("too_short",), ("status_allowed",), ("status_allowed", "op_allowed"), ()]
TOPICS = ["orders", "customers", "import:shop", "import:other"]


def letter(rng: random.Random, offset: int, partition: int) -> DeadLetter:
    """The next copy on a partition: often of a letter that was written before, sometimes for another reason."""
    topic, number = rng.choice(TOPICS), rng.randrange(40) * 2 + partition
    is_import = topic.startswith("import:")
    return DeadLetter(
        id=f"{topic[7:]}.csv:{number}" if is_import else f"{topic}/{partition}/{number}",
        source_topic=topic,
        source_partition=None if is_import else partition,
        source_offset=None if is_import else number,
        file=f"{topic[7:]}.csv" if is_import else None,
        line=number if is_import else None,
        reasons=rng.choice(REASONS),
        detail="said" if is_import else None,
        kafka_time=None if is_import else 1_000 * rng.randrange(50),
        written=50_000 + offset * 10 + partition,
        generation=rng.choice(["g1", "g2"]),
        size=rng.randrange(1_000),
        truncated=rng.random() < 0.1,
        null_value=rng.random() < 0.1,
        partition=partition,
        offset=offset,
        key=None,
        value=None,
    )


def tape(seed: int, count: int = 300) -> list[DeadLetter]:
    rng = random.Random(seed)
    return [letter(rng, offset, partition) for offset in range(count // 2) for partition in (0, 1)]


QUESTIONS = [
    Wanted(),
    Wanted(topic="orders"),
    Wanted(topic="import"),
    Wanted(topic="import:shop", reason="too_short"),
    Wanted(topic="payments"),
    Wanted(reason="op_allowed"),
    Wanted(since=10_000, until=30_000),
    Wanted(topic="orders", partition=1, offsets=(11, 41)),
]


@pytest.mark.parametrize("seed", range(5))
def test_it_answers_as_reading_everything_does(seed):
    letters, index, rng = tape(seed), LetterIndex(), random.Random(seed)
    index.begin({0: 0, 1: 0})
    at = 0
    while at < len(letters):
        size = rng.choice((1, 5, 60))
        index.add(letters[at : at + size])
        at += size
    assert index.letters == len({each.id for each in letters})
    for wanted in QUESTIONS:
        assert index.summarize(wanted) == summarize(letters, wanted), wanted
        before, pages = None, 0
        while True:
            expected, more = newest(lambda: letters, wanted, 7, before)
            assert index.newest(wanted, 7, before) == (expected, more), wanted
            if not more:
                break
            before, pages = expected[-1].order, pages + 1
    for each in letters[::10]:
        copies = [(other.partition, other.offset) for other in letters if other.id == each.id]
        assert sorted(index.places(each.id)) == sorted(copies)
    current = {each.id: each for each in letters}
    assert {each.id: each for each in index.entries()} == current


def test_what_retention_takes_is_gone():
    letters, index = tape(1), LetterIndex()
    index.begin({0: 0, 1: 0})
    index.add(letters)
    index.drop_before({0: 100, 1: 40})
    left = [each for each in letters if each.offset >= (100, 40)[each.partition]]
    for wanted in QUESTIONS:
        assert index.summarize(wanted) == summarize(left, wanted)
    assert index.newest(Wanted(), 1_000) == newest(lambda: left, Wanted(), 1_000)
    assert index.letters == len({each.id for each in left})


def test_it_keeps_the_newest_it_has_room_for_and_knows_from_where_on():
    letters, index = tape(2, 1_000), LetterIndex(most=100)
    index.begin({0: 0, 1: 0})
    for each in letters:
        index.add([each])
    assert 80 <= index.copies <= 100
    kept = [each for each in letters if each.offset >= index.floors[each.partition]]
    assert index.copies == len(kept)
    assert index.newest(Wanted(), 1_000) == newest(lambda: kept, Wanted(), 1_000)
    assert index.first_written(1) == next(e.written for e in kept if e.partition == 1)


def test_marks_and_a_new_beginning():
    index = LetterIndex()
    index.begin({0: 0, 1: 0})
    index.add(tape(3))
    index.mark_redriven(["orders/0/2", "orders/0/2", "elsewhere/0/1"])
    assert index.redriven(["orders/0/2", "orders/0/4"]) == {"orders/0/2"}
    assert index.redriven_marks == 2
    index.begin({0: 7, 1: 0})
    assert (index.letters, index.copies, index.redriven_marks) == (0, 0, 0)
    assert index.newest(Wanted(), 10) == ([], False)
    assert index.summarize(Wanted(topic="orders")) == (0, {})
    assert index.redriven(["orders/0/2"]) == set()


def test_the_room_is_shared_so_that_small_partitions_keep_everything():
    assert shares({0: 10, 1: 1_000, 2: 900}, 500) == {0: 10, 1: 245, 2: 245}
    assert shares({0: 10, 1: 20}, 500) == {0: 10, 1: 20}
    assert shares({}, 500) == {}

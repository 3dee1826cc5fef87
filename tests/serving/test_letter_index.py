"""The index of the dead letters says what reading all of them says, whatever is written, repeated, dropped."""

import random
from dataclasses import replace

import pytest

from serving.dead_letters import DeadLetter, LetterTopics, Wanted, newest, summarize
from serving.dead_letters.index import KEPT, LetterIndex, shares

REASONS = [("too_short",), ("status_allowed",), ("status_allowed", "op_allowed"), ()]
TOPICS = ["orders", "customers", "import:shop", "import:other"]


HOLDERS = LetterTopics("g2", "demo.g2.events.dead_letter", "demo.events.dead_letter")
BEGINNING = {(topic, partition): 0 for topic in HOLDERS.names for partition in (0, 1)}


def letter(rng: random.Random, offset: int, holder: str, partition: int) -> DeadLetter:
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
        # Who reads topic by topic reads the older copies first.
        written=(50_000 if holder == HOLDERS.shared else 90_000) + offset * 10 + partition,
        generation=rng.choice(["g1", "g2"]),
        size=rng.randrange(1_000),
        truncated=rng.random() < 0.1,
        null_value=rng.random() < 0.1,
        topic=holder,
        partition=partition,
        offset=offset,
        key=None,
        value=None,
    )


def tape(seed: int, count: int = 300) -> list[DeadLetter]:
    rng = random.Random(seed)
    return [
        letter(rng, offset, holder, partition)
        for holder in HOLDERS.names
        for offset in range(count // 4)
        for partition in (0, 1)
    ]


def index_of(letters: list[DeadLetter], most: int = KEPT) -> LetterIndex:
    index = LetterIndex(HOLDERS, BEGINNING, BEGINNING, most)
    for each in letters:
        index.add([each])
    return index


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
    letters, index, rng = tape(seed), index_of([]), random.Random(seed)
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
        copies = [other.place for other in letters if other.id == each.id]
        assert sorted(index.places(each.id)) == sorted(copies)
    current = {each.id: each for each in letters}
    assert {each.id: each for topic in HOLDERS.names for each in index.entries(topic)} == current


def test_what_retention_takes_is_gone():
    letters = tape(1)
    index = index_of(letters)
    taken = dict(zip(BEGINNING, (70, 40, 10, 0), strict=True))
    index.drop_before(taken)
    left = [each for each in letters if each.offset >= taken[each.topic, each.partition]]
    assert index.older() == {}
    for wanted in QUESTIONS:
        assert index.summarize(wanted) == summarize(left, wanted)
    assert index.newest(Wanted(), 1_000) == newest(lambda: left, Wanted(), 1_000)
    assert index.letters == len({each.id for each in left})


def test_it_keeps_the_newest_it_has_room_for_and_knows_from_where_on():
    letters = tape(2, 1_000)
    index = index_of(letters, most=100)
    assert 80 <= index.copies <= 100
    kept = [each for each in letters if each.offset >= index.floors[each.topic, each.partition]]
    assert index.copies == len(kept)
    assert index.older() == index.floors
    # A copy that is kept does not stand for all when a newer one had to go.
    last = {each.id: each for each in letters}
    standing = [each for each in kept if last[each.id] == each]
    assert index.newest(Wanted(), 1_000) == newest(lambda: standing, Wanted(), 1_000)
    for at in BEGINNING:
        assert index.first_written(at) == next(e.written for e in kept if (e.topic, e.partition) == at)


def test_letters_that_differ_in_nothing_but_their_topic_are_on_one_page_each():
    [first, *_] = tape(3)
    twins = [replace(first, id=f"@{topic}", topic=topic) for topic in HOLDERS.names]
    index = index_of(twins)
    [newer], more = index.newest(Wanted(), 1)
    assert (newer.topic, more) == (HOLDERS.own, True)
    [older], more = index.newest(Wanted(), 1, newer.order)
    assert (older.topic, more) == (HOLDERS.shared, False)
    assert index.newest(Wanted(), 1, older.order) == ([], False)


def test_marks_are_kept_once():
    index = index_of(tape(3))
    index.mark_redriven(["orders/0/2", "orders/0/2", "elsewhere/0/1"])
    assert index.redriven(["orders/0/2", "orders/0/4"]) == {"orders/0/2"}
    assert index.redriven_marks == 2


def test_the_room_is_shared_so_that_small_partitions_keep_everything():
    assert shares({0: 10, 1: 1_000, 2: 900}, 500) == {0: 10, 1: 245, 2: 245}
    assert shares({0: 10, 1: 20}, 500) == {0: 10, 1: 20}
    assert shares({}, 500) == {}

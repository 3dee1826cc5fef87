"""Whether bronze can complete a generation is decided before anything is there: what is in neither is named."""

import re
from dataclasses import replace

import pytest

from infra.bootstrap import bootstrap
from infra.generation import begin_generation, source_bounds
from infra.generations import Archive, Generation, read_generations
from infra.kafka import TopicIdentity, admin, identities
from infra.seams import archived_starts
from schemas.errors import GenerationError
from serving.store.keys import place
from streams.archive import archive_of, plot
from tests.archive.kit import age_out, begin, fill_bronze
from tests.e2e.kit import Shop

ORDERS = {"orders": TopicIdentity("id-1", 2)}
BASE = Generation(1, ORDERS, {"orders": [3, 5]})


def starts(archive, first, end, topics=ORDERS):
    generation = Generation(2, topics, archive=archive)
    both = ({("orders", p): offset for p, offset in enumerate(each)} for each in (first, end))
    found = archived_starts(generation, BASE, *both)
    return [found["orders", p] for p in range(2)]


def archive(*seams, until=(100, 100)):
    return Archive(1, 7, {"orders": list(seams)}, {"orders": list(until)})


@pytest.mark.parametrize(
    ("seams", "until", "first", "begins"),
    [
        ((50, 0), (50, 0), (50, 5), [3, 5]),
        ((60, 80), (60, 100), (50, 80), [3, 5]),
        ((100, 0), (100, 0), (100, 5), [3, 5]),
    ],
    ids=["some in the middle", "bronze and Kafka overlap", "all of a partition"],
)
def test_it_begins_where_bronze_does(seams, until, first, begins):
    assert starts(archive(*seams, until=until), first, (100, 100)) == begins


@pytest.mark.parametrize(
    ("made", "first", "named"),
    [
        (
            archive(50, 0, until=(40, 100)),
            (50, 5),
            "orders/0 from 40 to before 50 (bronze of g1 at manifest 7",
        ),
        (archive(50, 0, until=(0, 100)), (50, 5), "orders/0 from 3 to before 50 (bronze of g1"),
        (archive(50, 0), (55, 5), "orders/0 from 50 to before 55 (Kafka begins at 55"),
        (archive(50, 0), (50, 9), "orders/1 from 5 to before 9 (Kafka begins at 9"),
        (archive(101, 0, until=(101, 0)), (50, 5), "orders/0 from 100 to before 101 (the topic ends at 100"),
        (archive(50, 60, until=(40, 50)), (50, 60), "orders/1 from 50 to before 60 (bronze"),
    ],
    ids=[
        "bronze ends before the seam",
        "bronze has nothing",
        "Kafka begins behind the seam",
        "Kafka begins later than the base, and there is no seam",
        "the seam is behind the end",
        "each range is named",
    ],
)
def test_what_is_in_neither_is_named(made, first, named):
    with pytest.raises(GenerationError, match=re.escape(named)):
        starts(made, first, (100, 100))


def test_bronze_of_a_topic_that_was_created_again_is_of_no_use():
    again = {"orders": TopicIdentity("id-2", 2)}
    with pytest.raises(GenerationError, match=r"orders .it was created again"):
        starts(archive(50, 0), (50, 0), (100, 100), again)
    assert starts(archive(0, 0), (50, 0), (100, 100), again) == [50, 0]


def test_what_is_refused_leaves_nothing_behind(settings):
    base = bootstrap(settings)
    shop = Shop(settings, 2_000, 21)
    shop.produce(600)
    assert archive_of(settings, base) is None  # Kafka has everything, and there is no lake
    before = fill_bronze(settings, base).until
    at = max((each for each in before if each[0] == "orders"), key=before.__getitem__)
    age_out(settings, {at: 2})
    with pytest.raises(GenerationError, match=r"expected bronze of g9, .* it has no lake"):
        archive_of(settings, replace(base, number=9))
    found = archive_of(settings, base)
    assert (found.seam(*at), sum(map(sum, found.seams.values()))) == (2, 2)
    # What came since, Kafka has lost before the lake had it.
    shop.produce(600)
    _, ends = source_bounds(settings, base)
    assert ends[at] > before[at]
    age_out(settings, {at: ends[at]})
    lost = f"{place(*at)} from {before[at]} to before {ends[at]}"
    with pytest.raises(GenerationError, match=lost):
        archive_of(settings, base)
    with pytest.raises(GenerationError, match=f"{place(*at)} from 2 to before {ends[at]}"):
        begin_generation(settings, 2, found)
    with pytest.raises(GenerationError, match=lost):
        begin(settings, base)
    assert list(read_generations(settings).known) == [1]
    created = base.judged_topic(settings).replace(".g1.", ".g2.")
    assert created != base.judged_topic(settings)
    assert not identities(admin(settings.kafka_bootstrap_servers), [created])


def test_what_kafka_loses_while_a_generation_is_filled_is_read_from_bronze(settings):
    """It was begun when Kafka held everything."""
    base = bootstrap(settings)
    Shop(settings, 2_000, 22).produce(600)
    fill_bronze(settings, base)
    second = begin(settings, base)
    assert not any(second.seams().values())
    first, _ = source_bounds(settings, second)
    whole = plot(settings, second, first, first, own=False)
    assert (whole.turn, whole.start) == (first, first)
    _, ends = source_bounds(settings, second)
    at = max((each for each in ends if each[0] == "orders"), key=ends.__getitem__)
    age_out(settings, {at: 3})
    now, _ = source_bounds(settings, second)
    course = plot(settings, second, first, now, own=False)
    assert (course.turn[at], course.start[at], course.lost) == (3, 3, {})
    assert [record.offset() for record in course.messages(*at, 0, 3)] == [0, 1, 2]

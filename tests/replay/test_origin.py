"""Where a trial may begin, and what is told where it may not: values only, nothing runs."""

from datetime import UTC, datetime

import pytest

from dataflow.main import USAGE, main
from infra.generations import Generation
from infra.kafka import TopicIdentity
from replay.errors import ReplayError
from replay.origin import Origin, check_topics, check_whole, fewer, starts_within

TOPICS = {"orders": TopicIdentity("o", 2), "reviews": TopicIdentity("r", 1)}
FIRST = {("orders", 0): 10, ("orders", 1): 0, ("reviews", 0): 0}
END = {("orders", 0): 100, ("orders", 1): 50, ("reviews", 0): 7}
AT_TIME = {("orders", 0): 40, ("orders", 1): -1, ("reviews", 0): 3}
SINCE = datetime(2026, 3, 1, 8, tzinfo=UTC)


def generation(number, **starts):
    return Generation(number, TOPICS, starts)


@pytest.mark.parametrize(
    ("origin", "starts"),
    [
        (Origin(), (10, 0, 0)),
        (Origin(SINCE), (40, 50, 3)),
        (Origin(SINCE, {("orders", 1): 20}), (40, 20, 3)),
        (Origin(None, {("orders", 0): 10}), (10, 0, 0)),
        (Origin(None, {("orders", 0): 100}), (100, 0, 0)),
        (Origin(None, {}, ("reviews",)), (100, 50, 0)),
        (Origin(SINCE, {("orders", 0): 12}, ("orders",)), (12, 50, 7)),
    ],
)
def test_it_begins_where_it_was_asked_to(origin, starts):
    assert tuple(starts_within(origin, AT_TIME, FIRST, FIRST, END).values()) == starts


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (Origin(None, {("orders", 0): 9}), r"orders/0 that it has, 10 to 100 \(where it ends\); saw 9\."),
        (Origin(None, {("orders", 0): 101}), r"10 to 100 \(where it ends\); saw 101$"),
        (
            Origin(None, {("orders", 1): 20}),
            r"orders/0 to hold everything from its beginning, and it begins at 10",
        ),
    ],
)
def test_offsets_that_the_topic_has_not_are_refused(origin, said):
    begun = {**FIRST, ("orders", 0): 0}  # the live one has what the topic has lost
    with pytest.raises(ReplayError, match=said):
        starts_within(origin, {}, begun, FIRST, END)


def test_of_a_time_that_may_be_that_of_lost_records_nobody_begins():
    begun, lost = {**FIRST, ("orders", 0): 0}, {**AT_TIME, ("orders", 0): 10}
    with pytest.raises(ReplayError, match=r"since 2026-03-01T08:00:00Z.*before 10 only bronze has"):
        starts_within(Origin(SINCE), lost, begun, FIRST, END)
    assert starts_within(Origin(SINCE), AT_TIME, begun, FIRST, END)["orders", 0] == 40
    assert starts_within(Origin(SINCE), lost, FIRST, FIRST, END)["orders", 0] == 10
    empty = {**FIRST, ("orders", 0): 100}  # it has lost everything
    with pytest.raises(ReplayError, match=r"since 2026-03-01T08:00:00Z.*before 100 only bronze has"):
        starts_within(Origin(SINCE), {**AT_TIME, ("orders", 0): -1}, begun, empty, END)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (Origin(None, {}, ("refunds",)), "expected source topics: orders, reviews; saw refunds"),
        (Origin(None, {("refunds", 0): 1}), "saw refunds"),
        (Origin(None, {("orders", 2): 1}), "a partition of orders, 0 to 1; saw orders/2"),
        (Origin(None, {("orders", 0): 1}, ("reviews",)), r"topics that are read \(reviews\), saw orders/0"),
    ],
)
def test_topics_and_partitions_that_there_are_not_are_refused(origin, said):
    with pytest.raises(ReplayError, match=said):
        check_topics(origin, generation(2))


def test_only_what_has_all_records_of_the_live_one_may_take_its_place():
    live = generation(1, orders=[10, 0], reviews=[0])
    check_whole(generation(2, orders=[10, 0], reviews=[0]), live)
    check_whole(generation(2), live)
    trial = generation(2, orders=[10, 5], reviews=[7])
    with pytest.raises(
        ReplayError, match=r"\(orders/1 at 5, reviews/0 at 7\).*Replay everything, and promote"
    ):
        check_whole(trial, live)
    assert (fewer(trial, live), fewer(live, trial)) == (12, 0)
    # Offsets of a topic that was created again say nothing about those of the one before.
    again = Generation(2, {**TOPICS, "reviews": TopicIdentity("new", 1)}, {"orders": [10, 0], "reviews": [7]})
    check_whole(again, live)
    assert fewer(again, live) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2h", "--from", "2026-03-01"], "expected one time at most, and each partition once"),
        (
            ["--from", "orders/0:1", "--from", "orders/0:2"],
            "expected one time at most, and each partition once",
        ),
        (["--from", "orders/0"], "expected TOPIC/PARTITION:OFFSET such as orders/0:1200, saw 'orders/0'"),
        (["--from", "yesterday"], "expected a time such as 2026-03-01"),
    ],
)
def test_the_command_says_what_a_beginning_looks_like(arguments, said, capsys):
    assert main(["replay", "plan", *arguments]) == USAGE
    assert said in " ".join(capsys.readouterr().err.split())

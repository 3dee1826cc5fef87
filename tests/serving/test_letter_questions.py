"""Questions about dead letters answered from an index are right at once, and stay so whatever happens to the topic."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer, TopicPartition

from infra.kafka import admin, ensure_topics, identities
from infra.settings import Settings
from schemas.errors import DataflowError
from schemas.topics import DEAD_LETTER, REDRIVEN, TOPICS
from serving.dead_letters import Wanted, newest, read_letters, summarize
from serving.dead_letters.follow import Follower
from serving.dead_letters.index import LetterIndex
from serving.dead_letters.questions import Questions
from tests.cli.kit import T0, DeadLetterWriter
from tests.helpers import wait_for

SECOND = 1_000_000


class Patient:
    """Bounds of a question that a test may set, and which notes what is read from the topic."""

    def __init__(self) -> None:
        self.read_from: list[object] = []

    def check(self) -> None:
        pass

    def read(self, settings: Settings, partitions=None, *, keep_bytes: bool = False):
        self.read_from.append(partitions)
        return read_letters(settings, partitions, keep_bytes=keep_bytes)


@pytest.fixture
def shop(settings: Settings) -> Settings:
    settings = settings.replace(kafka_partitions=2)
    make_topics(settings)
    return settings


def make_topics(settings: Settings) -> None:
    topics = {settings.topic_prefix + name: TOPICS[name] for name in (DEAD_LETTER, REDRIVEN)}
    ensure_topics(admin(settings.kafka_bootstrap_servers), topics, 2, 1)


@pytest.fixture
def following(shop: Settings) -> Iterator[Callable[..., tuple[Questions, Follower]]]:
    with contextlib.ExitStack() as stack:

        def follow(most: int = 1_000) -> tuple[Questions, Follower]:
            follower = Follower(shop, LetterIndex(most))
            follower.start()
            stack.callback(follower.stop)
            return Questions(shop, follower), follower

        yield follow


def write(settings: Settings, numbers: range, **more: object) -> None:
    writer = DeadLetterWriter(settings)
    for n in numbers:
        writer.write(("orders", n % 2, n), b"x" * n, ["too_short"], at=T0 + n * SECOND, **more)
    writer.flush()


def expect_as_read(questions: Questions, settings: Settings, read: bool = False) -> list[str]:
    """List and summary are those of a reading of everything, and nothing was `read` for it; returns the ids."""
    for wanted in (Wanted(), Wanted(topic="orders", partition=1), Wanted(reason="no_such")):
        within = Patient()
        found, more, _ = questions.newest(wanted, 5, None, within)
        assert (found, more) == newest(lambda w=wanted: read_letters(settings), wanted, 5)
        assert questions.summarize(wanted, within) == summarize(read_letters(settings), wanted)
        assert bool(within.read_from) is read
    return [each.id for each in questions.newest(Wanted(), 1_000, None, Patient())[0]]


def refused(ask: Callable[[], object]) -> bool:
    """Whether the question is answered with an error that says what is wrong."""
    try:
        ask()
    except DataflowError:
        return True
    return False


def test_what_was_written_before_a_question_is_in_its_answer(shop, following):
    write(shop, range(10))
    questions, follower = following()
    assert len(expect_as_read(questions, shop)) == 10
    for n in range(10, 15):
        write(shop, range(n, n + 1))
        assert expect_as_read(questions, shop)[0] == f"orders/{n % 2}/{n}"
    wait_for(lambda: follower.view.letters == 15, what="the count")
    # A later process knows the same.
    assert expect_as_read(following()[0], shop) == expect_as_read(questions, shop)


def test_another_generation_writes_letters_again_and_the_newest_copy_stands(shop, following):
    questions, _ = following()
    write(shop, range(10))
    write(shop, range(4), generation="g2")
    found, _, _ = questions.newest(Wanted(), 100, None, Patient())
    assert {each.id: each.generation for each in found}["orders/0/2"] == "g2"
    assert len(expect_as_read(questions, shop)) == 10
    within = Patient()
    copies, redriven = questions.copies("orders/1/3", within)
    assert [(each.generation, each.value) for each in copies] == [("g1", b"xxx"), ("g2", b"xxx")]
    assert (redriven, within.read_from) == (False, [])
    assert questions.copies("orders/1/99", within)[0] == []


def test_a_letter_that_is_put_back_says_so(shop, following):
    questions, follower = following()
    write(shop, range(4))
    producer = Producer({"bootstrap.servers": shop.kafka_bootstrap_servers})
    producer.produce(shop.topic_prefix + REDRIVEN, b"{}", b"orders/0/2")
    producer.flush(30)
    found, _, redriven = questions.newest(Wanted(), 100, None, Patient())
    assert (len(found), redriven) == (4, {"orders/0/2"})
    assert questions.copies("orders/0/2", Patient())[1] is True
    wait_for(lambda: follower.view.redriven == 1, what="the count of marks")


def test_what_retention_took_is_told_no_more(shop, following):
    questions, follower = following()
    write(shop, range(20))
    assert len(expect_as_read(questions, shop)) == 20
    topic, client = shop.topic_prefix + DEAD_LETTER, admin(shop.kafka_bootstrap_servers)
    taken = [TopicPartition(topic, 0, 4), TopicPartition(topic, 1, 7)]
    for future in client.delete_records(taken).values():
        future.result(30)
    wait_for(lambda: follower.view.letters == 9, what="the letters that are left")
    assert len(expect_as_read(questions, shop)) == 9


def test_aborted_and_committed_transactions_hold_nobody_up(shop, following):
    questions, _ = following()
    write(shop, range(4))
    producer = Producer(
        {"bootstrap.servers": shop.kafka_bootstrap_servers, "transactional.id": shop.dataflow_env}
    )
    producer.init_transactions(30)
    for name, end in ((b"orders/0/8", producer.commit_transaction), (b"x", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(
            shop.topic_prefix + DEAD_LETTER, b"x", name, 0, headers=[("source_topic", b"orders")]
        )
        producer.flush(30)
        end(30)
    wait_for(lambda: len(expect_as_read(questions, shop)) == 5, what="the committed letter")


def test_a_topic_that_is_made_anew_is_begun_anew(shop, following):
    questions, follower = following()
    write(shop, range(10))
    assert len(expect_as_read(questions, shop)) == 10
    topic, client = shop.topic_prefix + DEAD_LETTER, admin(shop.kafka_bootstrap_servers)
    client.delete_topics([topic])[topic].result(30)
    wait_for(lambda: topic not in identities(client, [topic]), what="the topic's end")
    # A broker may tell a topic's offsets for a moment after it has listed the topic no more.
    wait_for(lambda: refused(lambda: questions.newest(Wanted(), 5, None, Patient())), what="an error")
    make_topics(shop)
    write(shop, range(3))
    wait_for(lambda: follower.view is not None and follower.view.letters == 3, what="the new topic's letters")
    assert len(expect_as_read(questions, shop)) == 3


def test_more_than_there_is_room_for_is_read_where_it_is_needed(shop, following):
    write(shop, range(300))
    questions, follower = following(most=100)
    wait_for(lambda: follower.view is not None, what="the index")
    assert follower.view.more is True
    assert follower.index.copies == 100
    assert len(expect_as_read(questions, shop, read=True)) == 300
    within = Patient()
    assert [each.value for each in questions.copies("orders/0/2", within)[0]] == [b"xx"]
    assert within.read_from != []


def test_the_newest_need_no_reading_although_older_ones_are_out_of_reach(shop, following):
    """As long as they are newer than whatever may be missing: of live refusals, the newest minutes."""
    write(shop, range(200))
    questions, follower = following(most=100)
    writer = DeadLetterWriter(shop)
    later = 1_000_000 * 4_000_000_000
    ids = [writer.write(("orders", 0, 1_000 + n), b"x", ["too_short"], at=later + n) for n in range(10)]
    writer.flush()
    within = Patient()
    found, more, _ = questions.newest(Wanted(), 5, None, within)
    assert [each.id for each in found] == ids[:4:-1]
    assert (more, within.read_from) == (True, [])
    assert follower.older()

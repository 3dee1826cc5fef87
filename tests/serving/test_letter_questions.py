"""Questions about dead letters answered from an index are right at once, and stay so whatever happens to the topic."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer, TopicPartition

from infra.generation import first_generation, fit_output_topics, served_generation
from infra.kafka import admin, ensure_topics, identities
from infra.settings import Settings
from schemas.errors import DataflowError
from schemas.topics import JUDGED, REDRIVEN, TOPICS
from serving.dead_letters import Wanted, copies_of, newest, read_letters, served_letters, summarize
from serving.dead_letters.follow import Follower
from serving.dead_letters.questions import Questions
from sources.importer.sinks import KafkaSink, RefusedLine
from sources.producer import EventProducer
from tests.cli.kit import T0, DeadLetterWriter
from tests.generation_kit import begin_beside, go_live
from tests.helpers import wait_for

SECOND = 1_000_000


class Patient:
    """Bounds of a question that a test may set, and which notes what is read from the topic."""

    def __init__(self) -> None:
        self.read_from: list[object] = []

    def check(self) -> None:
        pass

    def read(self, settings: Settings, topics, where=None, *, keep_bytes: bool = False):
        self.read_from.append(where)
        return read_letters(settings, topics, where, keep_bytes=keep_bytes)


@pytest.fixture
def shop(settings: Settings) -> Settings:
    """An environment with generation g1 live, whose topics hold no records."""
    settings = settings.replace(kafka_partitions=2)
    topics = {settings.topic_prefix + name: topic for name, topic in TOPICS.items() if name != JUDGED}
    ensure_topics(admin(settings.kafka_bootstrap_servers), topics, 2, 1)
    wait_for(lambda: not refused(lambda: first_generation(settings)), what="the generation")
    return settings


def topic_of(settings: Settings) -> str:
    return served_letters(settings).own


@pytest.fixture
def following(shop: Settings) -> Iterator[Callable[..., tuple[Questions, Follower]]]:
    with contextlib.ExitStack() as stack:

        def follow(most: int = 1_000) -> tuple[Questions, Follower]:
            follower = Follower(shop, most)
            follower.start()
            stack.callback(follower.stop)
            return Questions(shop, follower), follower

        yield follow


def write(settings: Settings, numbers: range, generation: str = "g1", *, shared: bool = False) -> None:
    writer = DeadLetterWriter(settings, generation, shared=shared)
    for n in numbers:
        writer.write(("orders", n % 2, n), b"x" * n, ["too_short"], at=T0 + n * SECOND)
    writer.flush()


def write_line(settings: Settings, line: int) -> str:
    """An import has refused a line of a file; returns the letter's id."""
    refused_line = RefusedLine("shop", "orders.csv", line, b"17;x", 4, ("not_a_number",), "expected a number")
    with EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, {}) as producer:
        KafkaSink(producer).refused(refused_line)
    return f"orders.csv:{line}"


def ids_of(questions: Questions) -> tuple[str, list[str]]:
    """The generation that is answered about, and all its letters, newest first."""
    found = questions.newest(Wanted(), 1_000, None, Patient())
    return found.generation, [each.id for each in found.letters]


def expect_as_read(questions: Questions, settings: Settings, read: bool = False) -> list[str]:
    """List and summary are those of a reading of everything, and nothing was `read` for it; returns the ids."""
    for wanted in (Wanted(), Wanted(topic="orders", partition=1), Wanted(reason="no_such")):
        within = Patient()
        topics = served_letters(settings)
        generation, found, more, _ = questions.newest(wanted, 5, None, within)
        assert (found, more) == newest(lambda t=topics: read_letters(settings, t), wanted, 5)
        assert questions.summarize(wanted, within)[1:] == summarize(read_letters(settings, topics), wanted)
        assert bool(within.read_from) is read
        assert generation == topics.generation
    return ids_of(questions)[1]


def refused(ask: Callable[[], object]) -> bool:
    """Whether the question is answered with an error that says what is wrong."""
    try:
        ask()
    except DataflowError:
        return True
    return False


@pytest.mark.cases(0)
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


def test_letters_that_are_written_again_count_once_and_the_newest_copy_stands(shop, following):
    """Those of the first generation may be in the shared topic, where all were before, and in its own."""
    questions, follower = following()
    write(shop, range(10), shared=True)
    write(shop, range(4))
    write(shop, range(2))
    topics = served_letters(shop)
    found = questions.newest(Wanted(), 100, None, Patient())
    assert {each.id: each.topic for each in found.letters} == {
        f"orders/{n % 2}/{n}": topics.own if n < 4 else topics.shared for n in range(10)
    }
    assert len(expect_as_read(questions, shop)) == 10
    wait_for(lambda: follower.view.letters == 10, what="the count")
    within = Patient()
    copies, redriven = questions.copies("orders/1/3", within)
    assert [(each.topic, each.value) for each in copies] == [(topics.shared, b"xxx"), (topics.own, b"xxx")]
    assert (redriven, within.read_from) == (False, [])
    assert questions.copies("orders/1/99", within)[0] == []


@pytest.mark.longhaul
def test_generations_beside_each_other_have_letters_of_their_own_and_those_of_imports_both(shop, following):
    second = begin_beside(shop)
    write(shop, range(4))
    write(shop, range(3, 6), "g2")
    write(shop, range(6, 7), "g2", shared=True)
    line = write_line(shop, 17)
    live, _ = following()
    bound = shop.replace(dataflow_generation=second.number)
    follower = Follower(bound)
    follower.start()
    beside = Questions(bound, follower)
    try:
        assert ids_of(live) == ("g1", [line, "orders/1/3", "orders/0/2", "orders/1/1", "orders/0/0"])
        assert ids_of(beside) == ("g2", [line, "orders/0/6", "orders/1/5", "orders/0/4", "orders/1/3"])
        for questions, settings in ((live, shop), (beside, bound)):
            expect_as_read(questions, settings)
            assert questions.summarize(Wanted(), Patient()).letters == 5
            assert len(questions.copies("orders/1/3", Patient())[0]) == 1
        assert live.copies("orders/0/6", Patient())[0] == beside.copies("orders/0/2", Patient())[0] == []
        assert copies_of(shop, served_letters(shop), "orders/0/6") == []
        [copy] = copies_of(bound, served_letters(bound), "orders/0/6")
        assert copy.generation == "g2"
        # What is bound to a generation does not care which is live.
        go_live(shop, second.number)
        wait_for(lambda: ids_of(live)[0] == "g2", 15, "the other generation's letters")
        assert ids_of(live) == ids_of(beside)
        expect_as_read(live, shop)
        wait_for(lambda: follower.view == live._follower.view, what="the same view")
        assert set(follower.view.as_json()["offsets"]) == set(served_letters(bound).names)
    finally:
        follower.stop()


@pytest.mark.cases(0)
def test_whoever_asks_while_the_pointer_moves_gets_one_generation_or_the_other_whole(shop, following):
    first, second = served_generation(shop), begin_beside(shop)
    write(shop, range(40))
    write(shop, range(100, 160), "g2")
    wholes = {"g1": [f"orders/{n % 2}/{n}" for n in range(39, -1, -1)]}
    wholes["g2"] = [f"orders/{n % 2}/{n}" for n in range(159, 99, -1)]
    questions, _ = following()
    for generation in (second, first):
        seen = {ids_of(questions)[0]}
        go_live(shop, generation.number)
        deadline = time.monotonic() + 15
        while generation.name not in seen and time.monotonic() < deadline:
            found = questions.newest(Wanted(), 1_000, None, Patient())
            assert [each.id for each in found.letters] == wholes[found.generation]
            seen.add(found.generation)
        assert seen == {"g1", "g2"}


@pytest.mark.cases(0)
def test_many_letters_of_another_generation_in_the_shared_topic_hide_no_older_ones(shop, following):
    """The index has room for the newest part of that topic, of which none is shown."""
    line = write_line(shop, 3)
    write(shop, range(200), "g2", shared=True)
    questions, follower = following(most=40)
    wait_for(lambda: follower.view is not None, what="the index")
    write(shop, range(10))
    assert expect_as_read(questions, shop, read=True) == [
        line,
        *(f"orders/{n % 2}/{n}" for n in range(9, -1, -1)),
    ]
    assert len(questions.newest(Wanted(), 5, None, Patient()).letters) == 5


def test_a_letter_that_is_put_back_says_so(shop, following):
    questions, follower = following()
    write(shop, range(4))
    producer = Producer({"bootstrap.servers": shop.kafka_bootstrap_servers})
    producer.produce(shop.topic_prefix + REDRIVEN, b"{}", b"orders/0/2")
    producer.flush(30)
    _, found, _, redriven = questions.newest(Wanted(), 100, None, Patient())
    assert (len(found), redriven) == (4, {"orders/0/2"})
    assert questions.copies("orders/0/2", Patient())[1] is True
    wait_for(lambda: follower.view.redriven == 1, what="the count of marks")


def test_what_retention_took_is_told_no_more(shop, following):
    questions, follower = following()
    write(shop, range(20))
    assert len(expect_as_read(questions, shop)) == 20
    topic, client = topic_of(shop), admin(shop.kafka_bootstrap_servers)
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
        producer.produce(topic_of(shop), b"x", name, 0, headers=[("source_topic", b"orders")])
        producer.flush(30)
        end(30)
    wait_for(lambda: len(expect_as_read(questions, shop)) == 5, what="the committed letter")


def test_a_topic_that_is_made_anew_is_begun_anew(shop, following):
    questions, follower = following()
    write(shop, range(10))
    assert len(expect_as_read(questions, shop)) == 10
    topic, client = topic_of(shop), admin(shop.kafka_bootstrap_servers)
    client.delete_topics([topic])[topic].result(30)
    wait_for(lambda: topic not in identities(client, [topic]), what="the topic's end")
    # A broker may tell a topic's offsets for a moment after it has listed the topic no more.
    wait_for(lambda: refused(lambda: questions.newest(Wanted(), 5, None, Patient())), what="an error")
    fit_output_topics(shop, served_generation(shop))
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
    _, found, more, _ = questions.newest(Wanted(), 5, None, within)
    assert [each.id for each in found] == ids[:4:-1]
    assert (more, within.read_from) == (True, [])
    assert follower.index.older()

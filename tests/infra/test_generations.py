"""The log of generations: what is recorded is decided by what was recorded, by one at a time, and is there at once."""

import json
import threading

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from infra import generations
from infra.generation import served_generation
from infra.generations import (
    LIVE,
    Archive,
    Generation,
    Generations,
    State,
    change_generations,
    read_generations,
)
from infra.kafka import TopicIdentity, admin, ensure_topics
from infra.settings import Settings
from schemas.errors import GenerationError, Unavailable
from schemas.topics import GENERATIONS, TOPICS

ORDERS = {"orders": TopicIdentity("id-of-orders", 2)}


@pytest.fixture
def log(settings: Settings) -> Settings:
    """Settings of an environment with an empty log."""
    ensure_topics(
        admin(settings.kafka_bootstrap_servers),
        {settings.topic_prefix + GENERATIONS: TOPICS[GENERATIONS]},
        1,
        1,
    )
    return settings


def begin(now: Generations) -> dict:
    """One generation more."""
    generation = Generation(now.next_number(), ORDERS, {"orders": [0, 7]})
    return {generation.name: generation.as_json()}


def test_nothing_is_recorded_before_the_first(settings):
    assert read_generations(settings) == Generations()


def test_what_is_recorded_is_read_by_everybody_as_soon_as_it_is_told(log):
    archive = Archive(1, 12, {"orders": [0, 5]})
    generation = Generation(2, ORDERS, {"orders": [0, 3]}, archive)
    changes = {
        "g2": generation.as_json(),
        "g2/state": {"state": State.PAUSED},
        "g2/code": {"digest": "abc", "declared": {}},
        LIVE: {"number": 2, "before": 1},
    }
    told = change_generations(log, lambda _: changes)
    read = read_generations(log)
    assert read.live == told.live == 2
    assert read.before == 1
    assert read.live_generation == told.live_generation == generation
    assert (read.known[2].state, read.known[2].code["digest"]) == (State.PAUSED, "abc")
    assert generation.seams() == {("orders", 0): 0, ("orders", 1): 5}
    assert [generation.start("orders", p) for p in range(3)] == [0, 3, 0]


def test_one_that_is_recorded_in_the_pointer_alone_is_still_known_after_a_switch(log):
    """So it was recorded when there was no more than one."""
    old, new = Generation(1, ORDERS), Generation(2, ORDERS)
    change_generations(log, lambda _: {LIVE: old.as_json(), "g1/code": {"digest": "abc", "declared": {}}})
    assert read_generations(log).live_generation == old
    assert read_generations(log).known[1].code["digest"] == "abc"
    change_generations(log, lambda _: {"g2": new.as_json(), LIVE: {"number": 2, "before": 1}})
    now = read_generations(log)
    assert (now.live_generation, now.of(now.before).generation) == (new, old)


def test_two_who_begin_at_once_begin_two_generations(log):
    failures = []

    def some() -> None:
        try:
            for _ in range(3):
                change_generations(log, begin)
        except Exception as error:  # noqa: BLE001 told below
            failures.append(error)

    threads = [threading.Thread(target=some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = read_generations(log).known
    # Who is fenced off all the time gives up and says so; what was told to be recorded is, each under its own number.
    assert sorted(known) == list(range(1, len(known) + 1))
    assert len(known) >= 9 - 3 * len(failures)
    assert len(known) >= 3


@pytest.mark.parametrize("is_done", [True, False])
def test_where_the_broker_does_not_say_whether_it_has_recorded_something_it_is_looked_up(
    log, monkeypatch, is_done
):
    """Told that it was not, somebody would go back twice, which is forth again."""
    asked, commits = [], []

    class Silent(Producer):
        def commit_transaction(self, *given):
            commits.append(given)
            if len(commits) > 1 or is_done:
                super().commit_transaction(*given)
            if len(commits) == 1:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def deciding(now: Generations) -> dict:
        asked.append(now.next_number())
        # A plan has tuples, which are read as lists.
        return {**begin(now), f"g{now.next_number()}/plan": {"changed": ("metric revenue",)}}

    monkeypatch.setattr(generations, "Producer", Silent)
    assert sorted(change_generations(log, deciding).known) == [1]
    assert asked == ([1] if is_done else [1, 1])
    assert sorted(read_generations(log).known) == [1]


def test_who_cannot_know_whether_something_was_recorded_is_told_so(log, monkeypatch):
    class Silent(Producer):
        def commit_transaction(self, *given):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(generations, "Producer", Silent)
    with pytest.raises(
        Unavailable, match=r"It may have been done all the same: see `dataflow replay status`"
    ):
        change_generations(log, begin)


def test_a_change_that_is_refused_leaves_nothing(log):
    def refuse(_: Generations) -> dict:
        raise GenerationError("no")

    change_generations(log, begin)
    with pytest.raises(GenerationError):
        change_generations(log, refuse)
    assert sorted(read_generations(log).known) == [1]
    assert sorted(change_generations(log, begin).known) == [1, 2]


def test_what_is_gone_is_told_and_its_number_is_not_given_again(log):
    change_generations(log, begin)
    change_generations(log, begin)
    now = change_generations(log, lambda _: {"g2/state": {"state": State.GONE}})
    assert now.running() == [1]
    assert now.next_number() == 3
    with pytest.raises(GenerationError, match=r"one of the generations g1; g2 is gone"):
        now.of(2)
    with pytest.raises(GenerationError, match="g7 was never started"):
        now.of(7)


def test_a_log_from_before_there_was_more_than_one_is_read(log):
    body = {"number": 4, "topics": {"orders": {"topic_id": "x", "partitions": 1}}, "starts": {"orders": [2]}}
    producer = Producer({"bootstrap.servers": log.kafka_bootstrap_servers})
    producer.produce(log.topic_prefix + GENERATIONS, json.dumps(body).encode(), LIVE.encode())
    assert producer.flush(15) == 0
    now = read_generations(log)
    assert (now.live, now.before, now.running()) == (4, None, [4])
    assert now.live_generation == Generation(4, {"orders": TopicIdentity("x", 1)}, {"orders": [2]})


def test_while_the_log_shows_none_that_is_live_a_process_is_told_to_try_again(log):
    """Also one that is bound to its own: a broker that has just started may show none for a moment."""
    for settings in (log, log.replace(dataflow_generation=1)):
        with pytest.raises(Unavailable):
            served_generation(settings, 0.1)

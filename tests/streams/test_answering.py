"""A request to repeat begins a query anew only where the one that runs would not answer it."""

import pytest
from confluent_kafka import Producer

from infra.bootstrap import bootstrap
from infra.settings import Settings
from streams.live.answering import Answering
from streams.live.attempt import Attempt

pytestmark = pytest.mark.slow


def test_one_that_has_begun_there_and_given_nothing_yet_is_waited_for(settings: Settings) -> None:
    generation = bootstrap(settings)
    everywhere = dict.fromkeys(generation.partitions(), 5)
    attempt, found = Attempt(2, everywhere), Answering(settings, generation)
    assert not found.answers(attempt, everywhere), "nothing has begun"
    found.begins(None)
    assert found.answers(attempt, everywhere)
    assert found.answers(attempt, dict.fromkeys(everywhere, 9))
    assert not found.answers(attempt, everywhere | {("orders", 0): 4}), "it began behind that"
    assert found.answers(Attempt(1, None), everywhere), "it began at the beginning"

    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    producer.produce(generation.judged_topic(settings), b"{}", partition=0)
    assert producer.flush(20) == 0
    assert not found.answers(attempt, everywhere), "it gives verdicts, so what lacks does not come by itself"
    found.begins(None)
    assert found.answers(attempt, everywhere), "another query, which has given none"
    found.failed()
    assert not found.answers(attempt, everywhere), "one that fails is not waited for"
    found.begins(1_790_000_000.0)
    assert not found.answers(attempt, everywhere), "it goes on behind its last commit"


def test_one_that_was_asked_for_just_now_has_a_while_to_be_seen(settings: Settings) -> None:
    generation = bootstrap(settings)
    everywhere = dict.fromkeys(generation.partitions(), 0)
    attempt, found = Attempt(2, everywhere), Answering(settings, generation)
    found.requested()
    found.begins(0.0)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    producer.produce(generation.judged_topic(settings), b"{}", partition=0)
    assert producer.flush(20) == 0
    assert found.answers(attempt, everywhere)
    found.begins(0.0)
    assert found.answers(attempt, everywhere)
    producer.produce(generation.judged_topic(settings), b"{}", partition=0)
    assert producer.flush(20) == 0
    assert not found.answers(attempt, everywhere)

"""A generation's materializer writes what it refuses to a topic of its own, also while another one runs beside it."""

import pytest
from confluent_kafka import Producer

from dataflow.testing.plain_live import PlainLive
from infra.bootstrap import bootstrap
from infra.generation import load_generation, source_bounds
from infra.kafka import admin
from infra.read_topic import read_topic
from infra.registry import schema_ids
from infra.runtime.platform import Platform
from infra.settings import Settings
from schemas.topics import DEAD_LETTER
from serving.dead_letters import copies_of, read_letters, served_letters
from serving.store.keys import Keys, place
from serving.store.store import connect
from sources.codec import EventCodec
from tests.cli.kit import DeadLetterWriter, order
from tests.generation_kit import begin_beside
from tests.helpers import wait_for

FAILPOINT = "materializer.after_dead_letters"


@pytest.mark.chaos
@pytest.mark.cases(0)
def test_two_generations_that_refuse_different_records_write_them_apart(settings: Settings) -> None:
    """The second takes no large records, and is killed right after it has written its letters."""
    settings = settings.replace(kafka_partitions=2)
    first = bootstrap(settings)
    second = begin_beside(settings)
    strict = settings.replace(
        dataflow_generation=second.number,
        dataflow_home=settings.dataflow_home / "beside",
        max_event_bytes=1_024,
        dataflow_failpoint=FAILPOINT,
    )
    codec = EventCodec(schema_ids(settings))
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    key, value = codec.encode("orders", order(1))
    for body in (value, b"\1", b"\1" * 2_000):
        producer.produce(settings.topic_prefix + "orders", body, key, 0)
    producer.flush(30)
    for bound, generation in ((settings, first), (strict, second)):
        live = PlainLive(bound, generation)
        live.judge()
        live.close()
    redis = connect(settings)
    with Platform(settings, ("materializer",)), Platform(strict, ("materializer",)):
        for generation in (first, second):
            _, ends = source_bounds(settings, generation)
            fence, wanted = (
                Keys.of(settings, generation.name).fence,
                {place(*at): end for at, end in ends.items()},
            )
            wait_for(
                lambda f=fence, w=wanted: {n.decode(): int(o) for n, o in redis.hgetall(f).items()} == w,
                60,
                f"the fences of {generation.name}",
            )
    redis.close()
    assert (strict.state_dir / "failpoints" / FAILPOINT).exists(), "nothing was killed"
    found = {
        bound.dataflow_generation: {
            letter.id: (letter.generation, letter.reasons)
            for letter in read_letters(bound, served_letters(bound))
        }
        for bound in (settings, strict)
    }
    assert found[None] == {
        "orders/0/1": ("g1", ("too_short",)),
        "orders/0/2": ("g1", ("wrong_magic_byte",)),
    }
    assert found[second.number] == {
        "orders/0/1": ("g2", ("too_short",)),
        "orders/0/2": ("g2", ("too_large",)),
    }
    [mine] = copies_of(settings, served_letters(settings), "orders/0/2")
    theirs = copies_of(strict, served_letters(strict), "orders/0/2")
    assert [mine.topic, *{copy.topic for copy in theirs}] == [
        first.dead_letter_topic(settings),
        second.dead_letter_topic(settings),
    ]
    shared = settings.topic_prefix + DEAD_LETTER
    assert list(read_topic(settings.kafka_bootstrap_servers, shared)) == []


def test_a_generation_from_before_it_had_a_topic_of_its_own_gets_one_and_keeps_its_letters(
    settings: Settings,
) -> None:
    settings = settings.replace(kafka_partitions=2)
    generation = bootstrap(settings)
    own, client = generation.dead_letter_topic(settings), admin(settings.kafka_bootstrap_servers)
    client.delete_topics([own])[own].result(30)
    for name in ("g1", "g7"):
        letters = DeadLetterWriter(settings, name, shared=True)
        letters.write(("orders", 1, int(name[1:])), b"x", ["too_short"])
        letters.flush()
    wait_for(lambda: bootstrap(settings) == load_generation(settings), what="the bootstrap")
    found = [letter.id for letter in read_letters(settings, served_letters(settings))]
    assert found == ["orders/1/1"]
    writer = DeadLetterWriter(settings)
    writer.write(("orders", 1, 2), b"x", ["too_short"])
    writer.flush()
    assert [letter.id for letter in read_letters(settings, served_letters(settings))] == [
        "orders/1/1",
        "orders/1/2",
    ]

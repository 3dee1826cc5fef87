"""What only the real path can show: partitions, transactions, a registry, many records; and the tables once more."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from confluent_kafka import Producer

from dataflow.testing import ABORT, Event, Live, Raw
from infra.generation import current_generation, source_bounds
from infra.registry import Registry, TopicSchemas, subject
from schemas.contract import CONTRACTS
from tests.bad_input.counting import expect_table, gained, measure, outcomes, totals
from tests.bad_input.histories import HISTORIES, OUTCOMES
from tests.bad_input.kit import Maker, unscaled, with_field
from tests.bad_input.records import CASES

PARTITIONS = (0, 1)
GOOD = 10_000


def test_every_bad_record_is_refused_for_what_it_is_and_no_number_moves(shop: Live, maker: Maker) -> None:
    before = totals(shop)
    bad = [case for case in CASES if case.reasons]
    added = gained(
        shop, lambda: expect_table(shop, bad, lambda case: case.make(maker), interchangeable=False)
    )
    assert added == {"records": len(bad), "refused": len(bad), "changed": 0, "repeat": 0, "superseded": 0}
    assert totals(shop) == before


def test_every_odd_record_that_fits_is_counted(shop: Live, maker: Maker) -> None:
    odd = [case for case in CASES if not case.reasons]
    added = gained(
        shop, lambda: expect_table(shop, odd, lambda case: case.make(maker), interchangeable=False)
    )
    assert (added["records"], added["changed"]) == (len(odd), len(odd))


def test_every_odd_history_counts_as_what_it_says_also_killed_in_the_middle(shop: Live) -> None:
    made = [(history, history.events(shop.stream.events)) for history in HISTORIES]
    events = [event for _, events in made for event in events]
    middle = len(events) // 2
    added = gained(shop, lambda: shop.stream.produce_all([*events[:middle], ABORT, *events[middle:]]))
    expected = [history.counts() for history in HISTORIES]
    assert added == {
        "records": len(events),
        **{outcome: sum(counts[outcome] for counts in expected) for outcome in OUTCOMES},
    }


def test_an_event_counts_once_in_however_many_partitions_it_stands(shop: Live) -> None:
    """Also when a later version overtakes it in another partition."""
    events = shop.stream.events
    order, view = events("orders", total_amount="5.00"), events("clickstream")
    paid = events.change(order, status="paid")
    gross, seen = measure(shop, "revenue", "gross"), measure(shop, "clicks", "events")

    def act() -> None:
        for partition in PARTITIONS:
            put(shop, partition, order, order, view)
            shop.settled()
        put(shop, 1, paid)
        shop.settled()
        put(shop, 0, order, paid, view)

    added = gained(shop, act)
    assert added == {"records": 10, "changed": 3, "repeat": 6, "superseded": 1, "refused": 0}
    assert measure(shop, "revenue", "gross") - gross == 5
    assert measure(shop, "clicks", "events") - seen == 1


def test_an_event_that_comes_again_days_later_counts_once(shop: Live) -> None:
    """Nothing forgets an event after a while: of a change, of a fact, killed between the days."""
    events = shop.stream.events
    order, view = events("orders", total_amount="3.00"), events("clickstream")
    gross, seen = measure(shop, "revenue", "gross"), measure(shop, "clicks", "events")

    def act() -> None:
        for days in (9, 8, 1, 0):
            put(shop, days % 2, order, view, before=timedelta(days=days))
            shop.settled()
            if days == 8:
                shop.kill()
                shop.start()

    added = gained(shop, act)
    assert added == {"records": 8, "changed": 2, "repeat": 6, "superseded": 0, "refused": 0}
    assert measure(shop, "revenue", "gross") - gross == 3
    assert measure(shop, "clicks", "events") - seen == 1


def test_a_partition_may_end_in_control_records_and_what_was_aborted_is_nowhere(shop: Live) -> None:
    """Offsets that no reader sees: markers alone, aborted records before and behind good ones, a whole end of them."""
    events, prefix = shop.stream.events, shop.settings.topic_prefix
    producer = Producer(
        {
            "bootstrap.servers": shop.settings.kafka_bootstrap_servers,
            "transactional.id": f"{prefix}bad-input",
            "log_level": 2,
        }
    )
    producer.init_transactions(30)

    def transaction(commit: bool, *made: Event) -> None:
        producer.begin_transaction()
        for event in made:
            key, value = shop.stream.codec.encode(event.topic, event)
            producer.produce(prefix + event.topic, value, key, partition=1)
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)(30)

    def reviews(count: int) -> list[Event]:
        return [events("reviews") for _ in range(count)]

    def act() -> None:
        transaction(True, *reviews(2))
        transaction(False, *reviews(3))
        shop.settled()
        transaction(False, *reviews(1))
        transaction(True, *reviews(2))
        transaction(False, *reviews(3))

    before = shop.get("/v1/exactness")["counts"]["empty"]
    added = gained(shop, act)
    assert added == {"records": 4, "changed": 4, "repeat": 0, "superseded": 0, "refused": 0}
    exactness = shop.get("/v1/exactness")
    # 7 aborted records and 5 markers
    assert (exactness["counts"]["empty"] - before, exactness["exact"], exactness["held"]) == (12, True, {})
    ends = source_bounds(shop.settings, current_generation(shop.settings))[1]
    assert ends["reviews", 1] == shop.get("/v1/status")["as_of"]["offsets"]["reviews"]["1"]


def test_one_poison_record_amid_ten_thousand_good_ones_is_the_only_one_refused(
    shop: Live, maker: Maker
) -> None:
    session = shop.stream.events.ids()
    good = [("clickstream", {"session_id": session}) for _ in range(GOOD)]
    poison = Raw("clickstream", session.encode(), maker.good("clickstream").value[:-1])
    before = len(shop.dead_letters())
    added = gained(shop, lambda: shop.stream.produce_all([*good[: GOOD // 2], poison, *good[GOOD // 2 :]]))
    assert added == {"records": GOOD + 1, "changed": GOOD, "refused": 1, "repeat": 0, "superseded": 0}
    assert len(shop.dead_letters()) == before + 1


def test_a_schema_is_evolved_while_it_runs_and_reverted_and_no_record_is_refused(
    shop: Live, maker: Maker
) -> None:
    """Registered again, the old schema is the registry's newest, and has the id that its records have had all along."""
    settings, topic = shop.settings, "payments"
    new = with_field(topic, "terminal", type=["null", "string"], default=None)
    registry, schemas = Registry(settings.kafka_schema_registry), TopicSchemas(settings)
    register = partial(registry.register, subject(settings, topic))
    old_id = maker.codec.schema_ids[topic]

    def new_ones(schema_id: int) -> Sequence[Raw]:
        return [maker.odd(topic, schema_id, new, terminal="t", amount=unscaled(200)) for _ in range(3)]

    def act() -> None:
        shop.stream.produce(topic)
        new_id = register(new)
        assert new_id != old_id
        shop.stream.produce_all([*new_ones(new_id), maker.good(topic), *new_ones(new_id)])
        shop.settled()
        assert register(json.loads(CONTRACTS[topic].avro_json)) == old_id
        shop.stream.produce_all([maker.good(topic), *new_ones(new_id), ABORT, maker.good(topic)])
        shop.settled()
        assert {each.schema_id for each in schemas.of(topic)} == {old_id, new_id}

    try:
        added = gained(shop, act)
    finally:
        registry.close()
        schemas.close()
    assert added == {"records": 13, "changed": 13, "repeat": 0, "superseded": 0, "refused": 0}


@pytest.mark.slow
@pytest.mark.longhaul
@pytest.mark.timeout(600)
@pytest.mark.dataflow(live="spark")
def test_sparks_live_job_says_the_same_of_both_tables(live: Live) -> None:
    maker = Maker(live.stream.codec, live.stream.events)
    live.stream.events.clock.set(datetime.now(UTC))
    expect_table(live, CASES, lambda case: case.make(maker), interchangeable=True)
    before = outcomes(live)
    made = [(history, history.events(live.stream.events)) for history in HISTORIES]
    live.stream.produce_all(event for _, events in made for event in events)
    live.settled(120)
    expected = [history.counts() for history in HISTORIES]
    assert {name: outcomes(live)[name] - before[name] for name in OUTCOMES} == {
        outcome: sum(counts[outcome] for counts in expected) for outcome in OUTCOMES
    }


def put(live: Live, partition: int, *made: Event, before: timedelta = timedelta()) -> None:
    """Into this partition, whatever the keys say, with the broker's time so long ago."""
    then = int((datetime.now(UTC) - before).timestamp() * 1_000)
    producer = Producer({"bootstrap.servers": live.settings.kafka_bootstrap_servers, "log_level": 2})
    for event in made:
        key, value = live.stream.codec.encode(event.topic, event)
        producer.produce(
            live.settings.topic_prefix + event.topic, value, key, partition=partition, timestamp=then
        )
    assert producer.flush(30) == 0

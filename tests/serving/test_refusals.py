"""Which refusals may be applied: the registry settles what the live job left undecided, and its silence nothing."""

from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest

from dataflow.testing.records import Record
from infra.registry import Registry, register_contracts, subject
from infra.settings import Settings
from serving.materializer.refusals import BETWEEN, Refusals
from sources.codec import HEADER, MAGIC
from tests.bad_input.kit import with_field
from tests.gate import Gate, gate_to

NOBODYS_ID = 2_000_000_123
ORDERS, REVIEWS = ("orders", 0), ("reviews", 1)


@pytest.fixture
def gate(settings: Settings) -> Iterator[Gate]:
    """In front of the registry, which lists every contract's schema."""
    register_contracts(settings)
    with gate_to(settings.kafka_schema_registry) as gate:
        yield gate


@pytest.fixture
def now() -> SimpleNamespace:
    """The materializer's clock, in seconds."""
    return SimpleNamespace(seconds=1_000.0)


@pytest.fixture
def refusals(settings: Settings, gate: Gate, now: SimpleNamespace) -> Iterator[Refusals]:
    found = Refusals(settings.replace(kafka_schema_registry=gate.url), clock=lambda: now.seconds)
    yield found
    found.close()


def asked(refusals: Refusals, schema_id: int, kind: str = "u", at: tuple[str, int] = ORDERS) -> str | None:
    """The objection to a refusal of a record with this schema id, which came right before it."""
    letter = Record("", at[1], 0, f"{at[0]}/{at[1]}/7".encode(), HEADER.pack(MAGIC, schema_id) + b"?", 0)
    return refusals.objection({"t": at[0], "p": at[1], "o": 7, "v": kind}, letter)


def registered(settings: Settings, topic: str) -> int:
    """The id of one more schema of a topic."""
    registry = Registry(settings.kafka_schema_registry)
    try:
        return registry.register(
            subject(settings, topic), with_field(topic, "note", type=["null", "string"], default=None)
        )
    finally:
        registry.close()


def test_a_refusal_without_its_record_is_not_applied_and_one_with_it_needs_no_registry(
    refusals: Refusals, gate: Gate
) -> None:
    gate.close()
    assert "did not come before it" in refusals.objection({"t": "orders", "p": 0, "o": 7, "v": "r"}, None)
    assert "did not come before it" in refusals.objection({"t": "orders", "p": 0, "o": 7, "v": "u"}, None)
    assert asked(refusals, NOBODYS_ID, kind="r") is None
    assert (gate.calls, refusals.waiting) == (0, set())


def test_what_the_registry_does_not_list_under_the_topic_is_refused(
    refusals: Refusals, settings: Settings
) -> None:
    assert asked(refusals, NOBODYS_ID) is None
    # Another topic's schema is none of this one's.
    assert asked(refusals, registered(settings, "reviews")) is None
    assert not refusals.waiting
    assert not refusals.may_be_settled()


def test_what_it_has_listed_and_lists_no_more_is_refused_and_holds_up_nobody(
    refusals: Refusals, settings: Settings
) -> None:
    """A live job that starts anew cannot learn it."""
    found = registered(settings, "orders")
    assert "yet to learn" in asked(refusals, found)
    url = f"{settings.kafka_schema_registry}/subjects/{subject(settings, 'orders')}/versions/latest"
    assert httpx.delete(url).status_code == 200
    refusals.new_run()
    assert asked(refusals, found) is None
    assert not refusals.waiting


def test_what_it_lists_waits_until_the_live_job_has_learned_it(
    refusals: Refusals, settings: Settings
) -> None:
    refusals.new_run()
    schema_id = registered(settings, "reviews")
    assert f"schema id {schema_id}, which the live job has yet to learn" in asked(
        refusals, schema_id, at=REVIEWS
    )
    assert refusals.waiting == {REVIEWS}
    assert refusals.may_be_settled()


def test_what_is_registered_between_two_runs_is_seen_and_within_one_it_is_asked_once(
    refusals: Refusals, settings: Settings, gate: Gate
) -> None:
    refusals.new_run()
    assert asked(refusals, NOBODYS_ID, at=REVIEWS) is None
    schema_id = registered(settings, "reviews")
    gate.close()  # what it has said holds for the whole run
    assert asked(refusals, schema_id, at=REVIEWS) is None
    gate.open()
    refusals.new_run()
    assert "yet to learn" in asked(refusals, schema_id, at=REVIEWS)


def test_while_the_registry_is_silent_nothing_is_refused_and_it_is_asked_again_only_after_a_while(
    refusals: Refusals, gate: Gate, now: SimpleNamespace
) -> None:
    gate.close()
    refusals.new_run()
    assert "nobody says whether there is one" in asked(refusals, NOBODYS_ID)
    calls = gate.calls
    assert calls > 0
    for _ in range(20):
        refusals.new_run()
        assert "nobody says" in asked(refusals, NOBODYS_ID)
        assert "nobody says" in asked(refusals, NOBODYS_ID, at=REVIEWS)
        assert not refusals.may_be_settled()
    assert gate.calls == calls, "each of these would have kept everything else waiting"
    assert refusals.waiting == {ORDERS, REVIEWS}

    now.seconds += BETWEEN
    assert not refusals.may_be_settled()
    assert gate.calls > calls


def test_when_it_answers_again_what_waits_may_be_settled_and_is(
    refusals: Refusals, settings: Settings, gate: Gate, now: SimpleNamespace
) -> None:
    schema_id = registered(settings, "reviews")
    gate.close()
    refusals.new_run()
    for at, each in ((ORDERS, NOBODYS_ID), (REVIEWS, schema_id)):
        assert "nobody says" in asked(refusals, each, at=at)
    gate.open()
    assert not refusals.may_be_settled(), "it was asked a moment ago"
    now.seconds += BETWEEN
    assert refusals.may_be_settled()
    refusals.new_run()
    assert asked(refusals, NOBODYS_ID) is None
    assert "yet to learn" in asked(refusals, schema_id, at=REVIEWS)
    assert refusals.waiting == {REVIEWS}


def test_an_answer_that_is_not_the_registrys_is_silence(settings: Settings) -> None:
    """A proxy in its place, say, that knows nothing of the path: nothing is refused for that."""
    elsewhere = settings.kafka_schema_registry.rpartition("/apis/")[0] + "/nothing/here"
    refusals = Refusals(settings.replace(kafka_schema_registry=elsewhere))
    assert "nobody says" in asked(refusals, NOBODYS_ID)
    refusals.close()
    assert refusals.waiting == {ORDERS}

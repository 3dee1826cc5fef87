"""Rounds of the continuous verifier: what goes wrong in one is told, and the next goes on."""

import threading
import time
from dataclasses import replace

import duckdb
import pytest

from infra.bootstrap import bootstrap
from infra.generation import current_generation
from replay.verify import rounds as rounds_module
from replay.verify.compare import Difference
from replay.verify.finding import tell
from replay.verify.oracle import Oracle
from replay.verify.rounds import Rounds, run
from replay.verify.verify import Verdict
from schemas.errors import Unavailable
from serving.lake.reader import NoLake
from serving.store.store import connect
from serving.verified import Found, told, verified_key, verified_keys
from streams.lake.place import lake_root
from streams.stop import StopRequest
from tests.helpers import wait_for
from tests.serving.api.kit import State
from tests.serving.lake_kit import SmallLake


@pytest.fixture
def environment(settings):
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    return settings


@pytest.fixture
def lake(environment):
    found = SmallLake(lake_root(environment, "g1"), environment)
    found.write({}, position=0)
    yield found
    found.close()


@pytest.fixture
def rounds(environment, lake):
    state, redis = State(environment), connect(environment)
    found = Rounds(environment, current_generation(environment), redis, StopRequest())
    yield found
    found.close()
    redis.close()
    state.close()


def test_too_little_memory_is_told_and_the_next_round_goes_on(rounds, monkeypatch):
    def short(*_):
        raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate")

    with monkeypatch.context() as patched:
        patched.setattr(Oracle, "forget_changes", short)
        found = rounds.once()
    assert (found.exact, found.manifest) == (None, None)
    assert "make room on that disk" in found.detail
    found = rounds.once()
    assert (found.exact, found.live) == (True, True)
    assert found.whole_at is not None


def test_everything_is_tried_again_after_a_while_and_not_in_every_round(rounds, lake, monkeypatch):
    asked = []

    def once(live):
        def check(seen, *, whole, **_):
            asked.append(whole)
            return Verdict(lake.manifest, (), live)

        with monkeypatch.context() as patched:
            patched.setattr(rounds._verifier, "check", check)
            patched.setattr(rounds._verifier, "verified", lake.manifest)
            return rounds.once()

    for n in range(3):
        found = once("the lake is behind")
        assert (found.exact, found.live, found.whole_at) == (True, False, None), "none was whole"
        assert asked == [True] + n * [False]
    rounds._tried_at = float("-inf")
    assert once(None).whole_at is not None
    assert asked.pop() is True
    assert once(None).whole_at is not None
    assert asked.pop() is False


def test_where_redis_was_emptied_everything_is_compared_anew(rounds, lake, monkeypatch):
    """The numbers that were found exact are perhaps no more."""
    asked = []

    def check(seen, *, whole, **_):
        asked.append(whole)
        return Verdict(lake.manifest, ())

    monkeypatch.setattr(rounds._verifier, "check", check)
    monkeypatch.setattr(rounds._verifier, "verified", lake.manifest)
    first = rounds.once().whole_at
    assert rounds.once().whole_at == first
    rounds._redis.delete(rounds._key)
    found = rounds.once()
    assert found.whole_at is None
    assert Found.from_json(rounds._redis.get(rounds._key)) == found
    assert rounds.once().whole_at > first
    rounds.once()
    assert asked == [True, False, False, True, False]


def test_a_round_in_which_nothing_was_compared_is_no_try(rounds, lake, monkeypatch):
    def behind(*_, **__):
        raise NoLake("none yet")

    with monkeypatch.context() as patched:
        patched.setattr(rounds._verifier, "check", behind)
        assert rounds.once().exact is None
    assert rounds.once().whole_at is not None


def test_what_bronze_held_otherwise_is_right_again_only_when_all_of_it_was_compared(
    rounds, lake, monkeypatch
):
    asked = []

    def once(*differences):
        def check(seen, *, every_byte, **_):
            asked.append(every_byte)
            return Verdict(lake.manifest, differences)

        with monkeypatch.context() as patched:
            patched.setattr(rounds._verifier, "check", check)
            return rounds.once()

    wrong = Difference(
        "raw_orders as sent", 1, 1, ((0, 4, 1),), ((0, 4, 2),), ("partition", "offset", "key"), 2, 1, 1
    )
    assert once(wrong).exact is False
    assert once(replace(wrong, missing=(), missing_rows=0)).exact is False
    found = once()  # of some others
    assert (found.exact, asked) == (False, [False, True, False])
    assert "not everything could be compared again" in found.detail
    rounds._bytes_at = float("-inf")
    assert once().exact is True
    assert once().exact is True
    assert asked == [False, True, False, True, False]


def test_what_was_found_stands_though_the_second_look_fails(rounds, lake, monkeypatch):
    """Records crossed a minute meanwhile, so some buckets are asked for again."""
    wrong = Difference("orders", 1, 1, ((1,),), ((2,),), ("at",), 1, 1, 1)
    verifier, looks = rounds._verifier, []

    def check(seen, *, whole, **_):
        looks.append(whole)
        if not whole:
            raise Unavailable("the broker is away")
        verifier.unasked = {("revenue", "minute"): {60}}
        return Verdict(lake.manifest, (wrong,))

    monkeypatch.setattr(verifier, "check", check)
    found = rounds.once()
    assert (looks, found.exact, found.live) == ([True, False], False, False)
    assert [each["table"] for each in found.differences] == ["orders"]
    assert found.detail == "the broker is away"


def test_a_difference_that_is_not_looked_for_again_is_told_beside_those_that_are_found(
    rounds, lake, monkeypatch
):
    compared = []

    def once(*tables, live=None):
        found = tuple(Difference(name, 1, 1, ((1,),), ((2,),), ("at",), 1, 1, 1) for name in tables)

        def check(seen, *, whole, every_byte, **_):
            compared.append((whole, every_byte))
            return Verdict(lake.manifest, found, live)

        with monkeypatch.context() as patched:
            patched.setattr(rounds._verifier, "check", check)
            return [each["table"] for each in rounds.once().differences]

    bytes_of, numbers = "raw_orders as sent", "live revenue minute"
    assert once(bytes_of) == [bytes_of]
    rounds._bytes_at = time.monotonic()  # not all bytes again so soon
    assert once("orders", numbers) == ["orders", numbers, bytes_of]
    # orders was compared again, live numbers and all bytes were not
    assert once(live="Redis does not answer") == [numbers, bytes_of]
    assert once() == [bytes_of]
    rounds._bytes_at = float("-inf")
    assert once() == []
    assert compared[-1] == (True, True)


def test_what_was_judged_stays_while_a_service_does_not_answer(environment, lake, monkeypatch):
    """To judge all of it once more may take hours."""
    settings = environment.replace(verify_seconds=1)
    state, redis, stop = State(environment), connect(environment), StopRequest()
    key, begun, down = verified_key(settings, "g1"), [], threading.Event()

    def current(given):
        if down.is_set():
            raise Unavailable("the broker does not answer")
        return current_generation(given)

    class Counted(Rounds):
        def __init__(self, *given):
            begun.append(self)
            super().__init__(*given)

    def last():
        return Found.from_json(redis.get(key))

    monkeypatch.setattr(rounds_module, "current_generation", current)
    monkeypatch.setattr(rounds_module, "Rounds", Counted)
    running = threading.Thread(target=run, args=(settings, stop))
    running.start()
    try:
        first = wait_for(lambda: (found := last()) and found.exact and found, 60, "a round")
        down.set()
        missed = wait_for(lambda: (found := last()).exact is None and found, 60, "a round that is missed")
        assert (missed.detail, missed.whole_at) == ("the broker does not answer", first.whole_at)
        down.clear()
        wait_for(lambda: last().exact, 60, "the next round")
    finally:
        stop.asked = True
        running.join(60)
        redis.close()
        state.close()
    assert not running.is_alive()
    assert len(begun) == 1


def test_who_is_told_to_stop_does_not_go_to_the_end_and_what_was_found_last_stands(rounds, lake):
    first = rounds.once()
    assert first.exact is True
    rounds._stop.asked = True
    assert rounds.once().exact is None
    assert Found.from_json(rounds._redis.get(rounds._key)) == first


def test_what_the_command_found_counts_as_if_it_had_been_found_here(rounds, environment, lake, monkeypatch):
    asked = []

    def once(*differences):
        def check(seen, *, whole, every_byte, **_):
            asked.append((whole, every_byte))
            return Verdict(lake.manifest, differences)

        with monkeypatch.context() as patched:
            patched.setattr(rounds._verifier, "check", check)
            patched.setattr(rounds._verifier, "verified", lake.manifest)
            return rounds.once()

    def known():
        return told(*rounds._redis.mget(verified_keys(environment, "g1")))

    def say(*differences, live=None, every_byte=False):
        return tell(
            environment, Verdict(lake.manifest, differences, live), time.time(), every_byte=every_byte
        )

    first = once()
    wrong = Difference("orders", 1, 1, ((1, 2),), ((1, 3),), ("order_id", "status"), 1, 1, 1)
    assert say(wrong)
    assert known().exact is False
    found = rounds._tell(first)  # of a round that was under way
    assert (found.exact, known().exact) == (True, False)
    assert once().exact is True, "everything was compared again"
    assert known().exact is True
    bytes_wrong = replace(wrong, table="raw_orders as sent")
    assert say(bytes_wrong, every_byte=True)
    assert not say(live="not asked for", every_byte=True)
    assert known().exact is False
    assert once(bytes_wrong).exact is False
    assert say(every_byte=True)
    assert known().exact is False, "by the verifier's own word"
    rounds._bytes_at = float("-inf")
    assert once().exact is True
    assert asked == [(True, False), (True, False), (True, True), (True, True)]


def test_who_has_verified_by_hand_need_not_wait_for_the_verifier(environment, lake):
    redis = connect(environment)
    keys = verified_keys(environment, "g1")
    exact = Verdict(lake.manifest, ())
    assert tell(environment, exact, 9_000.0, every_byte=False)
    assert told(*redis.mget(keys)).whole_at == 9_000.0
    down, some = "the broker does not answer", [{"table": "orders"}]
    for found, expected in (
        (Found(None, 9_008.0, down), (True, 9_000.0, 9_000.0)),
        (Found(True, 9_008.0), (True, 9_008.0, 9_000.0)),
        (Found(True, 9_008.0, whole_at=8_500.0), (True, 9_008.0, 8_500.0)),
        (Found(True, 2_000.0, whole_at=2_000.0), (True, 9_000.0, 9_000.0)),
        (Found(None, 99_000.0, down), (None, 99_000.0, None)),
        (Found(True, 99_000.0), (True, 99_000.0, None)),
        (Found(False, 8_000.0, differences=some), (False, 8_000.0, None)),
    ):
        redis.set(keys[0], found.to_json())
        one = told(*redis.mget(keys))
        assert (one.exact, one.at, one.whole_at) == expected
    redis.close()


def test_what_was_found_earlier_makes_nothing_right_that_was_found_later(environment, lake):
    redis = connect(environment)
    keys = verified_keys(environment, "g1")
    older = lake.manifest
    lake.write({}, position=3)
    wrong = Difference("orders", 1, 1, ((1, 2),), ((1, 3),), ("order_id", "status"), 1, 1, 1)
    for verdict, exact in (
        (Verdict(lake.manifest, (wrong,)), False),
        (Verdict(older, ()), False),
        (Verdict(lake.manifest, ()), True),
    ):
        assert tell(environment, verdict, time.time(), every_byte=True)
        assert told(*redis.mget(keys)).exact is exact
    redis.close()

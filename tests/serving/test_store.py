"""What Redis does for its writers: functions of several versions side by side, and nothing that it does not know."""

from collections.abc import Iterator

import pytest

from infra.settings import Settings
from serving.store.functions import TEXT, VERSION, function
from serving.store.keys import Keys
from serving.store.store import Lost, Store, connect

pytestmark = pytest.mark.slow

OTHER = "0" * len(VERSION)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    redis = connect(settings)
    yield Store(redis, Keys.of(settings, "g1"))
    redis.close()


def test_code_of_another_generation_keeps_its_functions(store: Store, settings: Settings) -> None:
    redis, theirs = store.redis, Keys.of(settings, "g2").meta
    assert OTHER != VERSION
    store.claim()
    # Code that says it otherwise, under the name that follows from its text.
    redis.function_load(TEXT.replace("VERSION", OTHER).replace("'epoch', 1", "'epoch', 10"), replace=True)
    try:
        assert store.claim().epoch == 2
        assert redis.fcall(f"dataflow_claim_{OTHER}", 1, theirs) == 10
        assert redis.fcall(function("claim"), 1, theirs) == 11
    finally:
        redis.function_delete(f"dataflow_{OTHER}")
        redis.delete(theirs)


def test_an_operation_that_it_does_not_know_is_refused_before_anything_is_written(store: Store) -> None:
    one, fence = store.keys.space + "one", store.keys.fence
    epoch = store.claim().epoch
    store.commit(epoch, {}, [("S", fence, ["orders/0", 0]), ("A", one, ["n", 5])])
    for letter in ("X", "SA", "s"):
        with pytest.raises(Lost, match=f"UNKNOWN {letter}"):
            store.commit(epoch, {("orders", 0): (0, 1)}, [("A", one, ["n", 1]), (letter, one, ["n", 9])])
        assert store.redis.hgetall(one) == {b"n": b"5"}
        assert store.redis.hgetall(fence) == {b"orders/0": b"0"}
    store.commit(epoch, {("orders", 0): (0, 1)}, [("A", one, ["n", 1])])
    assert store.redis.hgetall(one) == {b"n": b"6"}

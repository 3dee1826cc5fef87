"""A commit that cannot be applied whole is not applied at all: sums have 64 bits, and amounts come from outside."""

import pytest

from serving.store.keys import Keys
from serving.store.store import OutOfRange, Store, connect

pytestmark = [pytest.mark.longhaul, pytest.mark.timeout(300)]

# The largest line that its contract's types hold: 2³¹-1 pieces at 99,999,999.99.
LARGEST_LINE = (2**31 - 1) * 9_999_999_999


@pytest.fixture
def store(settings):
    redis = connect(settings)
    yield Store(redis, Keys.of(settings, "g1"))
    redis.close()


@pytest.mark.parametrize(
    "last", [("n", LARGEST_LINE), ("full", 1), ("empty", -2)], ids=["one too large", "sum", "negative sum"]
)
def test_a_sum_beyond_64_bits_leaves_fences_and_all_other_sums_as_they_were(store, last):
    keys = store.keys
    fence, one, other = keys.fence, keys.space + "one", keys.space + "other"
    epoch = store.claim().epoch
    before = ["full", 2**63 - 1, "empty", -(2**63) + 1, "left", 3]
    store.commit(epoch, {}, [("S", fence, ["orders/0", 0]), ("S", other, before)])
    content = [store.redis.hgetall(key) for key in (keys.meta, fence, one, other)]
    sums = [("A", one, ["new", 5, "negative", -7]), ("A", other, ["left", -3, *last])]
    with pytest.raises(OutOfRange, match=f"RANGE .*other {last[0]}"):
        store.commit(epoch, {("orders", 0): (0, 1)}, [*sums, ("S", keys.meta, ["spec", "x"])])
    assert [store.redis.hgetall(key) for key in (keys.meta, fence, one, other)] == content
    store.commit(epoch, {("orders", 0): (0, 1)}, [("A", one, ["new", 5]), ("A", other, ["left", -3])])
    assert store.redis.hgetall(one) == {b"new": b"5"}
    assert b"left" not in store.redis.hgetall(other)
    assert store.redis.hgetall(fence) == {b"orders/0": b"1"}

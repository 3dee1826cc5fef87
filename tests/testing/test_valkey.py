"""The Valkey in memory does what the functions in the real server do: answers and contents are the same."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis import Redis

from dataflow.testing.valkey import MemoryValkey
from infra.settings import Settings
from serving.store.functions import function
from serving.store.keys import Keys
from serving.store.store import Lost, Operation, OutOfRange, Store, connect

FIELDS = ("a", "b", "c")
LARGEST = 2**63 - 1


class Twins:
    """The same calls to the double and to the server, which must give the same."""

    def __init__(self, settings: Settings) -> None:
        self.keys = Keys.of(settings, "g1")
        self.redis: Redis = connect(settings)
        self.servers = (MemoryValkey(), self.redis)
        self.stores = [Store(server, self.keys) for server in self.servers]
        self.epochs = [store.claim().epoch for store in self.stores]
        self.commit({}, [("S", self.keys.fence, ["orders/0", 0])])

    def commit(
        self, ranges: dict[tuple[str, int], tuple[int, int]], operations: Sequence[Operation], late: int = 0
    ) -> None:
        outcomes = []
        for store, epoch in zip(self.stores, self.epochs, strict=True):
            try:
                store.commit(epoch - late, ranges, operations)
                outcomes.append(None)
            except (Lost, OutOfRange) as error:
                outcomes.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1]
        self.outcome = outcomes[0]

    def same(self) -> dict[str, Any]:
        """What both hold."""
        memory, real = self.servers[0], {}
        for key in self.redis.scan_iter(match=self.keys.space + "*"):
            kind, name = self.redis.type(key), key.decode()
            if kind == b"hash":
                real[name] = self.redis.hgetall(key)
            elif kind == b"zset":
                real[name] = {member: int(score) for member, score in self.redis.zscan_iter(key)}
            else:
                real[name] = self.redis.lrange(key, 0, -1)
        found = {**memory.hashes, **memory.sets, **memory.lists}
        real[self.keys.meta].pop(b"server", None)
        assert found == real
        return found

    def read(self, *arguments: str) -> list[Any]:
        command = ("FCALL_RO", function("read"), 2, self.keys.meta, self.keys.fence, *arguments)
        answers = []
        for server in self.servers:
            meta, fences, *found = server.execute_command(*command)
            pairs = [sorted(zip(flat[::2], flat[1::2], strict=True)) for flat in (meta, fences)]
            answers.append((*pairs, *(sorted(f) if isinstance(f, list) else f for f in found)))
        assert answers[0] == answers[1]
        return list(answers[0][2:])


@pytest.fixture
def twins(settings: Settings) -> Iterator[Twins]:
    found = Twins(settings)
    yield found
    found.redis.close()


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.longhaul) for n in range(1, 5))])
def test_random_commits_leave_the_same(twins: Twins, seed: int) -> None:
    chance, at, refused = random.Random(seed), 0, 0
    hashes = [twins.keys.counts, twins.keys.bucket("revenue", "day", 0)]
    for step in range(150):
        operations: list[Operation] = []
        for _ in range(chance.randrange(4)):
            key, field = chance.choice(hashes), chance.choice(FIELDS)
            operations.append(
                chance.choice(
                    [
                        ("A", key, [field, chance.choice((1, -1, 2, LARGEST, -LARGEST)), "d", 1]),
                        ("S", twins.keys.meta, [field, chance.randrange(9), "newest", chance.randrange(50)]),
                        ("S", twins.keys.meta, ["kafka_time", chance.randrange(50)]),
                        ("D", twins.keys.meta, [field]),
                        ("Z", twins.keys.active("active", "x"), [chance.randrange(50), field]),
                        ("T", twins.keys.active("active", "x"), [chance.randrange(40)]),
                        ("L", twins.keys.newest("orders"), [3, field, str(chance.randrange(9))]),
                    ]
                )
            )
        start = at if chance.random() < 0.9 else at + 1
        twins.commit({("orders", 0): (start, start + 2)}, operations, late=chance.random() < 0.05)
        at, refused = (at + 2, refused) if twins.outcome is None else (at, refused + 1)
        # It walks over all keys of a server that other tests have filled.
        if step % 15 == 14:
            assert twins.same()[twins.keys.fence] == {b"orders/0": b"%d" % at}
        twins.read("H", hashes[0], "", "L", twins.keys.newest("orders"), "2")
        twins.read("N", twins.keys.active("active", "x"), "newest:10")
    assert 0 < refused < 100


def test_reads_say_the_same_of_what_is_not_there(twins: Twins) -> None:
    absent, dimension = twins.keys.bucket("revenue", "all", 0), twins.keys.dimension("products")
    assert twins.read("H", absent, "", "N", "z", "newest:10", "L", "l", "5") == [[], 0, []]
    twins.commit({}, [("S", dimension, ["p", "[]"]), ("S", twins.keys.meta, ["dims", "v2"])])
    assert twins.read("I", dimension, "v1") == [[b"[]", b"p"]]
    assert twins.read("I", dimension, "v2") == [None]


def test_fetches_are_the_same(twins: Twins) -> None:
    key = twins.keys.facts("clickstream", "s")
    twins.commit({}, [("S", key, ["one", "1", "", "2"])])
    found = [store.fetch([(key, b"one"), (key, b""), (key, b"none")]) for store in twins.stores]
    assert found[0] == found[1] == [b"1", b"2", None]


def test_a_claim_fences_off_the_writer_before(twins: Twins) -> None:
    claimed = [store.claim() for store in twins.stores]
    assert claimed[0].epoch == claimed[1].epoch == twins.epochs[0] + 1
    assert claimed[0].fences == claimed[1].fences == {("orders", 0): 0}
    twins.commit({("orders", 0): (0, 1)}, [])
    assert twins.outcome is not None
    assert "EPOCH" in twins.outcome[1]

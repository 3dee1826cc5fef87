"""A Valkey in memory: the functions of `serving/store/functions.lua` on dicts, for tests that start no service.

It stands where the client stands, under the real `Store` and `Reader`. One contract suite runs on it and on the real
server, so that the two cannot drift apart.
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import msgpack

from serving.store.functions import function

Hash = dict[bytes, bytes]
LARGEST = 2**63 - 1
RUN_ID = "memory"


class MemoryValkey:
    """As much of a server as a generation's writer and readers need."""

    def __init__(self) -> None:
        self.hashes: dict[str, Hash] = {}
        self.sets: dict[str, dict[bytes, float]] = {}
        self.lists: dict[str, list[bytes]] = {}

    # --- what a client offers

    def function_load(self, code: str, replace: bool = False) -> None:
        """The functions are those of this class."""

    def config_get(self, pattern: str) -> dict[str, str]:
        return {"maxmemory-policy": "noeviction"}

    def info(self, section: str) -> dict[str, str]:
        return {"run_id": RUN_ID}

    def hgetall(self, key: str) -> Hash:
        return dict(self.hashes.get(key, {}))

    def hget(self, key: str, field: str | bytes) -> bytes | None:
        return self.hashes.get(key, {}).get(_bytes(field))

    def scan_iter(self, match: str, count: int = 0) -> Iterator[bytes]:
        for keys in (self.hashes, self.sets, self.lists):
            yield from (key.encode() for key in list(keys) if fnmatch.fnmatchcase(key, match))

    def flushall(self) -> None:
        for keys in (self.hashes, self.sets, self.lists):
            keys.clear()

    def pipeline(self) -> "_Pipeline":
        return _Pipeline(self)

    def fcall(self, name: str, number: int, *keys: str) -> int:
        if name != function("claim"):
            raise NotImplementedError(f"{name} is no function that this double has")
        epoch = int(self.hget(keys[0], "epoch") or 0) + 1
        self._hash(keys[0])[b"epoch"] = b"%d" % epoch
        return epoch

    def execute_command(self, command: str, name: str, number: int, *arguments: Any) -> Any:
        """FCALL and FCALL_RO."""
        functions = {
            function("commit"): self._commit,
            function("fetch"): self._fetch,
            function("read"): self._read,
        }
        return functions[name](arguments[:number], arguments[number:])

    def close(self) -> None:
        """Nothing is held."""

    # --- the functions

    def _commit(self, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> bytes:
        meta, fence, _ = keys
        epoch, body = _bytes(arguments[0]), arguments[1]
        if self.hget(meta, "epoch") != epoch:
            return b"EPOCH %s" % (self.hget(meta, "epoch") or b"false")
        moves, operations = msgpack.unpackb(body, raw=True)
        for at, start, _ in moves:
            if self.hget(fence, at) != start:
                return b"FENCE %s %s" % (at, self.hget(fence, at) or b"false")
        operations = [(letter.decode(), key.decode(), values) for letter, key, values in operations]
        sums: dict[tuple[str, bytes], int] = {}
        for letter, key, values in operations:
            for field, delta in _pairs(values) if letter == "A" else ():
                at = key, field
                sums[at] = sums.get(at, int(self.hget(key, field) or 0)) + int(delta)
                if not -LARGEST - 1 <= sums[at] <= LARGEST:
                    return b"RANGE %s %s by %s" % (key.encode(), field, delta)
        for (key, field), total in sums.items():
            self._hash(key)[field] = b"%d" % total
            if not total:
                self._drop(key, [field])
        for at, _, until in moves:
            self._hash(fence)[at] = until
        for letter, key, values in operations:
            if letter != "A":
                self._write[letter](self, key, values)
        return b"OK"

    def _raise(self, key: str, values: list[bytes]) -> None:
        scores = self.sets.setdefault(key, {})
        for score, member in _pairs(values):
            scores[member] = max(int(score), scores.get(member, int(score)))

    def _forget(self, key: str, values: list[bytes]) -> None:
        kept = {m: score for m, score in self.sets.get(key, {}).items() if score > int(values[0])}
        self.sets[key] = kept
        if not kept:
            del self.sets[key]

    def _push(self, key: str, values: list[bytes]) -> None:
        most, *pushed = values
        self.lists[key] = [*reversed(pushed), *self.lists.get(key, [])][: int(most)]

    def _set(self, key: str, values: list[bytes]) -> None:
        self._hash(key).update(_pairs(values))

    def _drop(self, key: str, fields: list[bytes]) -> None:
        found = self._hash(key)
        for field in fields:
            found.pop(field, None)
        if not found:
            del self.hashes[key]

    # By the operation's letter, sums apart.
    _write: Mapping[str, Callable[["MemoryValkey", str, list[bytes]], None]] = {
        "S": _set,
        "D": _drop,
        "Z": _raise,
        "T": _forget,
        "L": _push,
    }

    def _fetch(self, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> list[bytes | None]:
        return [self.hget(key, field) for key, field in _pairs(arguments)]

    def _read(self, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> list[Any]:
        meta, fence = keys
        found: list[Any] = [self._flat(meta), self._flat(fence)]
        for n in range(0, len(arguments), 3):
            kind, key, argument = arguments[n : n + 3]
            if kind == "H":
                found.append(self._flat(key))
            elif kind == "L":
                found.append(self.lists.get(key, [])[: int(argument)])
            elif kind == "I":
                found.append(None if self.hget(meta, "dims") == _bytes(argument) else self._flat(key))
            else:
                field, _, window = argument.rpartition(":")
                newest = self.hget(meta, field)
                taken = self.hget(meta, "kafka_time") or newest
                after = min(int(newest or 0), int(taken or 0)) - int(window)
                scores = self.sets.get(key, {}).values()
                found.append(0 if newest is None else sum(score > after for score in scores))
        return found

    def _hash(self, key: str) -> Hash:
        return self.hashes.setdefault(key, {})

    def _flat(self, key: str) -> list[bytes]:
        return [part for pair in self.hashes.get(key, {}).items() for part in pair]


class _Pipeline:
    """The reads of several hashes, together."""

    def __init__(self, server: MemoryValkey) -> None:
        self._server, self._keys = server, []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._keys.clear()

    def hgetall(self, key: str) -> None:
        self._keys.append(key)

    def execute(self) -> list[Hash]:
        return [self._server.hgetall(key) for key in self._keys]


class MemoryReading:
    """The asynchronous client of a `MemoryValkey`, for `serving.read.Reader`."""

    def __init__(self, server: MemoryValkey) -> None:
        self._server = server

    async def execute_command(self, *command: Any) -> Any:
        return self._server.execute_command(*command)

    async def aclose(self) -> None:
        """Nothing is held."""


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _pairs(values: Any) -> Iterator[tuple[Any, Any]]:
    return zip(values[::2], values[1::2], strict=True)

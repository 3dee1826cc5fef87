"""The materializer's side of Redis: become the one writer, fetch entity states, commit a run's effects at once.

Writes only through the server-side functions of `functions.lua`, which compare epoch and fences first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgpack
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from infra.kafka import Offsets
from infra.settings import Settings
from schemas.errors import DataflowError, SettingsError, Terminal, Transient, Unavailable
from serving.store.functions import LIBRARY, function
from serving.store.keys import Keys, parse_place, place

Argument = str | bytes | int
Operation = tuple[str, str, Sequence[Argument]]  # letter, key, arguments: see functions.lua
DROPPED_AT_ONCE = 500  # keys; more would block the server for everybody
# Lua unpacks an operation's arguments onto its stack, which holds some 8,000.
MAX_ARGUMENTS = 4_000


class Lost(DataflowError, Transient):
    """Redis is not as this writer left it (another writer, a flush, an older copy): claim it again."""


class OutOfRange(DataflowError, Terminal):
    """A sum does not fit into 64 bits; the message says what to do."""


@dataclass(frozen=True)
class Claimed:
    """What Redis holds at the moment of a claim. `spec` is None where it holds nothing of the generation."""

    epoch: int
    spec: str | None
    server: str | None  # run id of the Redis server that the last claim saw
    server_now: str
    newest: Mapping[str, int]  # topic ("" for all) → newest event time (µs)
    kafka_time: int
    base: Offsets
    fences: Offsets
    judged: dict[int, int]
    held: dict[str, str]
    rebuild: Offsets  # what has to be reached before anything is shown
    reread: dict[int, int]  # how far the judged topic has to be read before
    filling: str = ""  # how far somebody came who filled it out of the lake, and not to the end


def connect(settings: Settings) -> Redis:
    """A client that gives up on a server that hangs, and never repeats a call by itself."""
    return Redis(
        settings.redis_host,
        settings.redis_port,
        settings.redis_db,
        settings.redis_password.get_secret_value() if settings.redis_password else None,
        socket_timeout=15,
        socket_connect_timeout=5,
        retry=None,
    )


class Store:
    """One generation's keys, for its writer."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis, self.keys = redis, keys

    def claim(self) -> Claimed:
        """Fence off every other writer and look at what is there. Raises Unavailable."""
        try:
            self.redis.function_load(LIBRARY, replace=True)
            self._check_eviction()
            server = self.redis.info("server")["run_id"]
            epoch = self.redis.fcall(function("claim"), 1, self.keys.meta)
            with self.redis.pipeline() as pipe:
                for key in (
                    self.keys.meta,
                    self.keys.base,
                    self.keys.fence,
                    self.keys.judged,
                    self.keys.held,
                ):
                    pipe.hgetall(key)
                meta, base, fences, judged, held = map(_texts, pipe.execute())
        except (RedisError, OSError) as error:
            known = self.redis.connection_pool.connection_kwargs
            raise Unavailable(
                f"Redis at {known['host']}:{known['port']} does not answer: {error}. Settings are read at the "
                "start: if it is elsewhere now, say so with REDIS_HOST and REDIS_PORT and start again"
            ) from error
        newest = {"": int(meta.get("newest", 0))}
        newest |= {n.removeprefix("newest:"): int(v) for n, v in meta.items() if n.startswith("newest:")}
        return Claimed(
            epoch,
            meta.get("spec"),
            meta.get("server"),
            server,
            newest,
            int(meta.get("kafka_time", 0)),
            {parse_place(at): int(offset) for at, offset in base.items()},
            {parse_place(at): int(offset) for at, offset in fences.items()},
            {int(partition): int(offset) for partition, offset in judged.items()},
            held,
            {
                parse_place(n.removeprefix("rebuild:")): int(v)
                for n, v in meta.items()
                if n.startswith("rebuild:")
            },
            {int(n.removeprefix("reread:")): int(v) for n, v in meta.items() if n.startswith("reread:")},
            meta.get("filling", ""),
        )

    def _check_eviction(self) -> None:
        """Raises SettingsError if the server may throw keys away when its memory is full, and numbers with them."""
        try:
            policy = self.redis.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
        except ResponseError:
            return  # a managed server may hide its configuration
        if policy != "noeviction":
            raise SettingsError(
                f"REDIS_HOST: expected a server with maxmemory-policy noeviction, saw {policy}"
            )

    def fetch(self, places: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """The value at each (key, field)."""
        if not places:
            return []
        arguments = [part for where in places for part in where]
        try:
            return self.redis.execute_command("FCALL_RO", function("fetch"), 0, *arguments)
        except (RedisError, OSError) as error:
            raise Lost(f"Redis does not answer: {error}") from error

    def check(self, claimed: Claimed, fences: Offsets) -> None:
        """Raises Lost unless server, epoch and fences are this writer's: a restart, a flush, an older copy shows.

        A restart must show even if nothing was lost by it: until the new server is claimed, readers mistrust it.
        """
        try:
            server = self.redis.info("server")["run_id"]
            found = self.redis.hget(self.keys.meta, "epoch")
            stored = {
                parse_place(at): int(o) for at, o in _texts(self.redis.hgetall(self.keys.fence)).items()
            }
        except (RedisError, OSError) as error:
            raise Lost(f"Redis does not answer: {error}") from error
        if server != claimed.server_now or found != str(claimed.epoch).encode() or stored != fences:
            raise Lost(f"Redis is not as this writer left it: another server, epoch ({found!r}) or fences")

    def has_begun(self) -> bool:
        """Whether anything can be shown, now or once a rebuild is over. Raises Unavailable."""
        try:
            return bool(self.redis.hexists(self.keys.meta, "spec"))
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    def clear(self, epoch: int, filling: str, look: Callable[[], object]) -> None:
        """Remove everything of the generation but who may write, while `filling` stands. Raises Lost.

        `look` is called between two removals.
        """
        meta, found = self.keys.meta.encode(), []
        try:
            for key in self.redis.scan_iter(match=self.keys.space + "*", count=1_000):
                if key != meta:
                    found.append(key)
                if len(found) == DROPPED_AT_ONCE:
                    self._drop(epoch, filling, found)
                    found = []
                    look()
            if found:
                self._drop(epoch, filling, found)
        except (RedisError, OSError) as error:
            raise Lost(f"Redis does not answer: {error}") from error

    def _drop(self, epoch: int, filling: str, keys: Sequence[bytes]) -> None:
        self._call(function("drop"), [self.keys.meta], epoch, filling, *keys)

    def fill(self, epoch: int, before: str, after: str, operations: Iterable[Operation]) -> None:
        """One piece of many: applied if Redis is as the piece before left it, which `before` names; see `commit`.

        An empty `before` is that there was none, an empty `after` that there are no more. Raises OutOfRange, Lost.
        """
        body = packed({}, operations)
        self._call(function("fill"), [self.keys.meta, self.keys.fence], epoch, before, after, body)

    def commit(
        self, epoch: int, ranges: Mapping[tuple[str, int], tuple[int, int]], operations: Iterable[Operation]
    ) -> None:
        """Move the fences of `ranges` (from, until) and apply `operations`, all or nothing.

        Raises OutOfRange for a sum beyond 64 bits; Lost if this writer is not the last to have claimed, if a fence
        stands elsewhere, or if no answer came (then nobody knows whether it was applied; a claim tells).
        """
        keys = [self.keys.meta, self.keys.fence, self.keys.channel]
        self._call(function("commit"), keys, epoch, packed(ranges, operations))

    def _call(self, called: str, keys: Sequence[str], epoch: int, *arguments: Argument) -> None:
        try:
            answer = self.redis.execute_command("FCALL", called, len(keys), *keys, epoch, *arguments)
        except (RedisError, OSError) as error:
            raise Lost(f"no answer to {called}: {error}") from error
        if answer.startswith(b"RANGE"):
            raise OutOfRange(
                f"a sum would leave 64 bits ({answer.decode()}): nothing is applied any more; find the amount in the "
                "newest records of the topics, refuse its like by a rule in schemas/rules, then start over with "
                "`dataflow generation new`"
            )
        if answer != b"OK":
            raise Lost(f"expected what this writer left, at epoch {epoch}; Redis says {answer.decode()}")


def packed(ranges: Mapping[tuple[str, int], tuple[int, int]], operations: Iterable[Operation]) -> bytes:
    """Moves of fences and operations as the functions take them.

    As one argument: thousands of them cost both sides more than what is done with them. Redis's unpacker knows no
    separate type for bytes, and a number would lose digits on its way through Lua.
    """
    moves = [(place(*at), str(start), str(until)) for at, (start, until) in ranges.items()]
    changes = [
        (letter, key, [str(v) if type(v) is int else v for v in values[n : n + MAX_ARGUMENTS]])
        for letter, key, values in operations
        for n in range(0, len(values), MAX_ARGUMENTS)
    ]
    return msgpack.packb((moves, changes), use_bin_type=False)


def _texts(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.items()}

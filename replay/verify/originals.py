"""What bronze keeps of a record is what the broker has of it, byte for byte.

Everything else is computed from bronze, by the lake and by the oracle, so neither would notice if bronze held other
bytes. Some records of each partition are compared at a time, others with each manifest, or all that the broker still
has. Reads bronze and the topics.
"""

import hashlib
import random
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import duckdb
from confluent_kafka import Message

from infra.generations import Generation
from infra.settings import Settings
from replay.verify.compare import Difference, compare, together
from replay.verify.gaps import SourceTopic
from replay.verify.reading import check_not
from schemas.contract import CONTRACTS
from schemas.table import Table
from schemas.tables import bronze
from serving.lake.views import quoted
from streams.lake.manifest import Manifest

AS_SENT = " as sent"  # behind the table's name
UNREAD = "not to be read"
SAMPLE = 250  # offsets of each partition that are compared at a time
PIECE = 20_000  # offsets whose digests are held at once where all are
DIGITS = 12  # of a digest: enough to see that two differ, and nothing of what they are of
COLUMNS = ("partition", "offset", "kafka_time", "key", "value", "headers")

Row = tuple[int, int, int, str, str, str]


class Originals:
    """Compares bronze of one generation with its source topics."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self._settings, self._generation = settings, generation
        self._salt = secrets.token_bytes(16)  # a digest alone would tell who guesses right

    def check(
        self,
        lake: duckdb.DuckDBPyConnection,
        manifest: Manifest,
        *,
        all_of_them: bool = False,
        given_up: Callable[[], bool] = lambda: False,
    ) -> list[Difference]:
        """One difference for each topic; `lake` has the views of bronze at `manifest`. Raises Unavailable."""
        return [self._topic(lake, manifest, topic, all_of_them, given_up) for topic in CONTRACTS]

    def _topic(
        self,
        lake: duckdb.DuckDBPyConnection,
        manifest: Manifest,
        topic: str,
        all_of_them: bool,
        given_up: Callable[[], bool],
    ) -> Difference:
        table = bronze(CONTRACTS[topic])
        found = Difference(f"{table.name}{AS_SENT}", 0, 0, (), (), COLUMNS, 2)
        partitions = [p for of, p in manifest.until if of == topic]
        with SourceTopic(self._settings, topic, partitions) as source:
            for p in partitions:
                first, end = source.span(p)
                low = max(first, self._generation.start(topic, p))
                high = min(end, manifest.until[topic, p])
                place = f"{manifest.generation}/{manifest.number}/{topic}/{p}"
                for start, until in _pieces(low, high) if all_of_them else _some(low, high, place):
                    check_not(given_up)
                    span = max(start, source.span(p)[0]), until  # which it may have lost by now
                    if span[0] >= until:
                        continue
                    kept: dict[int, list[Row]] = defaultdict(list)
                    for row in self._kept(lake, table, p, *span):
                        kept[row[1]].append(row)
                    sent = (self._sent(record) for record in source.records(p, *span))
                    # Which offsets there are is compared elsewhere, all of them.
                    both = [(_as_told(each, row), row) for row in sent for each in kept.get(row[1], ())]
                    found = together(found, _compared(found.table, both))
        return found

    def _kept(
        self, lake: duckdb.DuckDBPyConnection, table: Table, partition: int, low: int, high: int
    ) -> Iterator[Row]:
        """What bronze has, in no order."""
        result = lake.execute(
            f'SELECT "offset", epoch_us(kafka_time), key, value, headers FROM {quoted(table.name)} '
            f'WHERE partition = {partition} AND "offset" >= {low} AND "offset" < {high}'
        )
        while some := result.fetchmany(100):
            for offset, at, key, value, headers in some:
                pairs = [(each["key"], each["value"]) for each in headers or ()]
                yield (partition, offset, at, self._digest(key), self._digest(value), self._headers(pairs))

    def _sent(self, record: Message) -> Row:
        """What the broker has."""
        at = record.timestamp()[1] * 1_000
        place = record.partition(), record.offset()
        try:
            headers = self._headers(record.headers() or ())
        except (SystemError, UnicodeDecodeError):
            headers = UNREAD
        return (*place, at, self._digest(record.key()), self._digest(record.value()), headers)

    def _headers(self, pairs: Iterable[tuple[str, bytes | None]]) -> str:
        """In their order, which is kept."""
        parts = [(name.encode(), value) for name, value in pairs]
        if not parts:
            return "none"
        told = [name.hex() + "=" + ("" if value is None else "." + value.hex()) for name, value in parts]
        return f"{len(parts)}, {self._hash(';'.join(told).encode())}"

    def _digest(self, given: bytes | None) -> str:
        """Tells two apart, and nothing of what they hold: it may be personal."""
        return "null" if given is None else f"{len(given)} bytes, {self._hash(given)}"

    def _hash(self, given: bytes) -> str:
        return hashlib.sha256(self._salt + given).hexdigest()[:DIGITS]


def _some(low: int, high: int, place: str) -> Iterator[tuple[int, int]]:
    """Some of the offsets from `low` to before `high`: the same again for the same place, others for another one."""
    if low < high:
        width = min(SAMPLE, high - low)
        start = low + random.Random(place).randrange(high - low - width + 1)
        yield start, start + width


def _pieces(low: int, high: int) -> Iterator[tuple[int, int]]:
    for start in range(low, high, PIECE):
        yield start, min(start + PIECE, high)


def _as_told(kept: Row, sent: Row) -> Row:
    """Without the headers where nobody could read those that were sent: the client takes no name but UTF-8."""
    return (*kept[:5], UNREAD) if sent[5] == UNREAD else kept


def _compared(name: str, both: Iterable[tuple[Row, Row]]) -> Difference:
    kept, sent = zip(*both, strict=True) if both else ((), ())
    return compare(name, kept, sent, COLUMNS, 2)

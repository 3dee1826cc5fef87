"""Bronze of one lake as records of source topics: what is left of them when the topics no longer hold them.

Reads the Delta tables `raw_<topic>` at one manifest. Bronze is only ever added to, so the newest manifest has all that
an older one has, and its files are there longest: upkeep removes those of older ones.
"""

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, Self

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from infra.generations import Generation
from infra.kafka import Offsets
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from schemas.extension import one_line
from schemas.tables import bronze
from streams.lake.manifest import Manifest, newest_manifest
from streams.lake.place import lake_root
from streams.windows import size_of, windows

# Offsets, and bytes, of which the records are in memory at a time.
WINDOW, WINDOW_BYTES = 20_000, 32_000_000
BATCH = 512  # rows that are decoded together
Ranges = Mapping[int, tuple[int, int]]  # by partition: from, to before
# Offset, broker's time (µs), key, value, headers as {"key": …, "value": …}.
Record = tuple[int, int, bytes | None, bytes | None, list[dict[str, Any]] | None]


class Bronze:
    """The raw records of generation `name`'s lake: of each partition all from its beginning to before `until`."""

    def __init__(self, settings: Settings, name: str, manifest: Manifest, until: Offsets) -> None:
        self.name, self.manifest, self.until = name, manifest, until
        self._root, self._prefix = lake_root(settings, name), settings.topic_prefix
        self._tables: dict[str, DeltaTable] = {}

    @classmethod
    def of(cls, settings: Settings, number: int, generation: Generation) -> Self | None:
        """That of generation `number` as far as it is of the topics of `generation`; None if it has no lake."""
        name = f"g{number}"
        try:
            manifest = newest_manifest(lake_root(settings, name))
        except (DeltaError, OSError) as error:
            raise Unavailable(f"the lake of {name} cannot be read: {one_line(error)}") from error
        if manifest is None or manifest.generation != name:
            return None
        same = {t for t, identity in generation.topics.items() if manifest.topics.get(t) == identity.topic_id}
        return cls(settings, name, manifest, {at: end for at, end in manifest.until.items() if at[0] in same})

    def files(self, topic: str, ranges: Ranges) -> list[str]:
        """The Parquet files that may hold records of these ranges, by what the Delta log says of each."""
        table = self._table(topic)
        actions = table.get_add_actions(flatten=True)
        names = ("path", "min.partition", "max.partition", "min.offset", "max.offset")
        columns = [actions[name].to_pylist() for name in names]
        return [
            f"{self._root}/{bronze(CONTRACTS[topic]).name}/{path}"
            for path, *bounds in zip(*columns, strict=True)
            if None in bounds or _may_hold(*bounds, ranges)
        ]

    def offsets(self, topic: str, partition: int, since: int, until: int) -> list[int]:
        """The offsets from `since` to before `until` that are records'; those of transactions' markers are not."""
        table, where = self._table(topic), _within(partition, since, until)
        try:
            rows = (
                QueryBuilder()
                .register("records", table)
                .execute(f'SELECT "offset" FROM records WHERE {where} ORDER BY "offset"')
                .read_all()
            )
            return rows["offset"].to_pylist()
        except Exception as error:
            raise self._unavailable(topic, error) from error

    def messages(self, topic: str, partition: int, since: int, until: int) -> Iterator[Message]:
        """The records from `since` to before `until`, as a consumer gives them. Raises Unavailable."""
        for rows in windows(
            lambda first, end: self._records(topic, partition, first, end),
            size_of,
            since,
            until,
            offsets=WINDOW,
            at_most=WINDOW_BYTES,
        ):
            for offset, at, key, value, headers in sorted(rows, key=itemgetter(0)):
                yield Message(
                    topic=self._prefix + topic,
                    partition=partition,
                    offset=offset,
                    key=key,
                    value=value,
                    headers=[(each["key"], each["value"]) for each in headers] if headers else None,
                    timestamp=(TIMESTAMP_LOG_APPEND_TIME, at // 1000),
                )

    def _records(self, topic: str, partition: int, since: int, until: int) -> Iterator[Record]:
        """In no order: to put them into one takes to hold them all."""
        table, where = self._table(topic), _within(partition, since, until)
        try:
            for batch in (
                QueryBuilder({"datafusion.execution.batch_size": str(BATCH)})
                .register("records", table)
                .execute(
                    'SELECT "offset", CAST("kafka_time" AS BIGINT) AS at, "key", "value", "headers" FROM records '
                    f"WHERE {where}"
                )
            ):
                yield from zip(*(batch.column(n).to_pylist() for n in range(batch.num_columns)), strict=True)
        except Exception as error:
            raise self._unavailable(topic, error) from error

    def _table(self, topic: str) -> DeltaTable:
        if topic not in self._tables:
            name = bronze(CONTRACTS[topic]).name
            try:
                version = self.manifest.tables.get(name, 0)
                self._tables[topic] = DeltaTable(f"{self._root}/{name}", version=version)
            except (DeltaError, OSError) as error:
                raise self._unavailable(topic, error) from error
        return self._tables[topic]

    def _unavailable(self, topic: str, error: Exception) -> Unavailable:
        return Unavailable(
            f"bronze of {self.name} cannot be read for topic {topic}, at manifest {self.manifest.number}: "
            f"{one_line(error)}"
        )


def _within(partition: int, since: int, until: int) -> str:
    return f'"partition" = {partition} AND "offset" >= {since} AND "offset" < {until}'


def _may_hold(low: int, high: int, first: int, last: int, ranges: Ranges) -> bool:
    """Whether a file with these partitions (lowest, highest) and offsets may have records of one of the ranges."""
    return any(
        low <= partition <= high and since <= last and first < until
        for partition, (since, until) in ranges.items()
    )

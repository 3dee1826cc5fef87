"""Bronze has every record of the source topics, and each once: all else is computed from it.

A partition's offsets go on without a gap. Where there is one, the broker says whether it has a record there: it has
none where a transaction ended or was given up. Reads bronze and, where there are gaps, the topics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from infra.generations import Generation
from infra.settings import Settings
from replay.verify.compare import MOST, Difference
from replay.verify.gaps import SourceTopic, Told
from replay.verify.tables import selected
from schemas.contract import CONTRACTS
from schemas.tables import bronze
from streams.lake.manifest import Manifest

AT_ONCE = 10_000  # gaps that are asked for together
NAMES = ("partition", "offset")

# Where bronze has records, and whether it may have them there.
PLACES = (
    'CREATE OR REPLACE TEMP TABLE _places AS SELECT partition, "offset", '
    'coalesce("offset" BETWEEN low AND high - 1, false) AS inside FROM ({rows}) LEFT JOIN _bounds USING (partition)'
)
EXTRA = (
    'SELECT partition, "offset" FROM _places WHERE NOT inside UNION ALL SELECT partition, "offset" FROM (SELECT '
    'partition, "offset", unnest(range(count(*) - 1)) FROM _places WHERE inside GROUP BY ALL HAVING count(*) > 1)'
)
ENDED = (
    'SELECT partition, "offset" FROM _places WHERE inside '
    "UNION ALL SELECT partition, low - 1 FROM _bounds UNION ALL SELECT partition, high FROM _bounds"
)
GAPS = (
    'SELECT partition, "offset" + 1 AS low, lead("offset") OVER (PARTITION BY partition ORDER BY "offset") AS high '
    f"FROM ({ENDED}) QUALIFY high > low"
)


@dataclass(frozen=True)
class Complete:
    """One difference for each topic. `untold`: offsets that bronze lacks and the broker no longer has."""

    differences: tuple[Difference, ...]
    untold: int


@dataclass
class _Missing:
    """Records that the broker has and bronze has not, up to MOST of them and how many; and what nobody can tell."""

    places: list[tuple[int, int]]
    records: int = 0
    untold: int = 0

    def add(self, told: Told) -> None:
        self.records += len(told.records)
        self.untold += told.untold
        self.places += [(told.gap[0], offset) for offset in told.records[: MOST - len(self.places)]]


class Completeness:
    """Compares bronze with the topics; keeps in `database` which gaps the broker has confirmed."""

    def __init__(
        self, settings: Settings, generation: Generation, database: duckdb.DuckDBPyConnection
    ) -> None:
        self._settings, self._generation, self._database = settings, generation, database
        database.execute(
            "CREATE TABLE _confirmed (topic VARCHAR, partition INTEGER, low BIGINT, high BIGINT)"
        )

    def check(self, root: str, manifest: Manifest, since: Manifest | None = None) -> Complete:
        """Every topic up to the manifest's offsets, or from those of `since` on. Raises Unavailable."""
        found = [self._topic(topic, root, manifest, since) for topic in CONTRACTS]
        return Complete(tuple(each for each, _ in found), sum(untold for _, untold in found))

    def _topic(
        self, topic: str, root: str, manifest: Manifest, since: Manifest | None
    ) -> tuple[Difference, int]:
        table = bronze(CONTRACTS[topic])
        bounds = [
            (p, self._first(topic, p, since), end) for (of, p), end in manifest.until.items() if of == topic
        ]
        before = [f'(partition = {p} AND "offset" < {low})' for p, low, _ in bounds]
        rows = selected(table, root, manifest, f"NOT ({' OR '.join(before)})" if since and before else "true")
        # Temporary tables are a cursor's own, and what is kept does not disturb what is being read.
        with self._database.cursor() as sql:
            sql.execute("CREATE TEMP TABLE _bounds (partition INTEGER, low BIGINT, high BIGINT)")
            for each in bounds:
                sql.execute("INSERT INTO _bounds VALUES (?, ?, ?)", each)
            sql.execute(PLACES.format(rows=rows))
            [number] = sql.execute("SELECT count(*) FROM _places").fetchone()
            [extra] = sql.execute(f"SELECT count(*) FROM ({EXTRA})").fetchone()
            unexpected = sql.execute(f"{EXTRA} ORDER BY ALL LIMIT {MOST}").fetchall() if extra else []
            missing = self._missing(topic, [p for p, *_ in bounds], sql)
        return Difference(
            table.name,
            number,
            number - extra + missing.records,
            tuple(missing.places),
            tuple(unexpected),
            NAMES,
            len(NAMES),
            missing.records,
            extra,
        ), missing.untold

    def _first(self, topic: str, partition: int, since: Manifest | None) -> int:
        start = self._generation.start(topic, partition)
        return start if since is None else since.until.get((topic, partition), start)

    def _missing(self, topic: str, partitions: Sequence[int], sql: duckdb.DuckDBPyConnection) -> _Missing:
        missing = _Missing([])
        known = f"SELECT partition, low, high FROM _confirmed WHERE topic = '{topic}'"
        sql.execute(f"SELECT * FROM ({GAPS}) ANTI JOIN ({known}) USING (partition, low, high) ORDER BY ALL")
        gaps = sql.fetchmany(AT_ONCE)
        if not gaps:
            return missing
        with SourceTopic(self._settings, topic, partitions) as source:
            while gaps:
                told = source.look(gaps)
                for each in told:
                    missing.add(each)
                self._confirm(topic, [each for each in told if not each.records and not each.untold])
                gaps = sql.fetchmany(AT_ONCE)
        return missing

    def _confirm(self, topic: str, told: Sequence[Told]) -> None:
        columns = zip(*(each.gap for each in told), strict=True) if told else ([], [], [])
        gaps = pa.table(dict(zip(("partition", "low", "high"), map(list, columns), strict=True)))
        self._database.register("_gaps", gaps)
        self._database.execute(f"INSERT INTO _confirmed SELECT '{topic}', * FROM _gaps")
        self._database.unregister("_gaps")

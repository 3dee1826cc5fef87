"""The lake's tables at a manifest against the oracle's, which stands at the manifest's offsets.

All of each table, or what has changed since an earlier manifest: by the oracle's account and by the lake's own.
"""

from collections.abc import Callable, Sequence

from deltalake import DeltaTable

from infra.kafka import Offsets
from replay.verify.compare import Difference, compare, compare_relations
from replay.verify.gold import QUERIES, TOUCHED
from replay.verify.layout import BOTH
from replay.verify.moved import settled_counts, settled_rows
from replay.verify.oracle import Oracle
from replay.verify.reading import check_not
from schemas.contract import CONTRACTS
from schemas.table import BATCH, Column, Table
from schemas.tables import QUARANTINE, TABLES, bronze, silver
from serving.lake.dictionary import column_of, order_of
from serving.lake.views import parquet, quoted, select, sql_type
from streams.lake.files import late_columns
from streams.lake.manifest import Manifest

AT_ONCE = 500_000  # rows of a table that are compared together
# Which of these is said of damaged bytes depends on how far a decoder gets.
DAMAGED = ("undecodable", "not_canonical", "invalid_utf8")
REASONS = f"list_sort(list_transform(reasons, lambda r: if(r IN {DAMAGED}, 'damaged', r)))"


def check_tables(
    oracle: Oracle,
    root: str,
    manifest: Manifest,
    since: Manifest | None = None,
    given_up: Callable[[], bool] = lambda: False,
) -> list[Difference]:
    """Every table that the oracle can compute, and the counts; without `since` whole. Unavailable if `given_up`."""
    found = []
    for table in (*map(silver, CONTRACTS.values()), *(TABLES[name] for name in QUERIES)):
        check_not(given_up)
        delta = DeltaTable(f"{root}/{table.name}", version=manifest.tables[table.name])
        found.append(_check(oracle, table, delta.file_uris(), since, late_columns(table, delta)))
    found.append(_check_quarantine(oracle, root, manifest, since))
    counts = (settled_counts(each, oracle.moved) for each in (manifest.counts, oracle.counts))
    found.append(compare("counts", *(each.items() for each in counts), ("of", "records"), 1))
    return found


def _check(
    oracle: Oracle, table: Table, files: list[str], since: Manifest | None, late: Sequence[Column]
) -> Difference:
    names = [column.name for column in table.columns]
    source = QUERIES.get(table.name) or f"SELECT {', '.join(map(quoted, names))} FROM {table.name}"
    typed = ", ".join(f"{quoted(c.name)}::{sql_type(c)} AS {quoted(c.name)}" for c in table.columns)
    expected = f"SELECT {typed} FROM ({source}) AS _q({', '.join(map(quoted, names))})"
    only = "true"
    if since is not None and table.name in since.tables and table.name in _touched():
        only = _narrow(oracle, table, files, since, late)
        expected = f"SELECT * FROM ({expected}) WHERE {only}"
    return compare_relations(
        oracle.database,
        table.name,
        lambda part: settled_rows(select(table, files, f"{only} AND {part}", late), table, oracle.moved),
        settled_rows(expected, table, oracle.moved),
        names,
        _slices(oracle, table, files, only, late),
    )


def _narrow(oracle: Oracle, table: Table, files: list[str], since: Manifest, late: Sequence[Column]) -> str:
    """What is asked of the rows that have changed, by the oracle's account or by the lake's."""
    key, touched = _touched()[table.name]
    names = ", ".join(map(quoted, key))
    # A time has another type in the files than in a view.
    plain = ", ".join(
        f"{quoted(name)}::TIMESTAMP" if column_of(table, name).type == "timestamp" else quoted(name)
        for name in key
    )
    oracle.database.execute(
        f"CREATE OR REPLACE TEMP TABLE _only AS SELECT DISTINCT * FROM ({touched}) AS _t({names})"
    )
    if files:
        oracle.database.execute(
            f"INSERT INTO _only SELECT DISTINCT {plain} FROM {parquet(files, late)} WHERE {_claimed(table, since)}"
        )
    return f"({plain}) IN (SELECT ({names}) FROM _only)"


def _slices(
    oracle: Oracle, table: Table, files: list[str], only: str, late: Sequence[Column] = ()
) -> list[str]:
    """Conditions that part a table by what names its rows, so that about AT_ONCE rows of its files meet each."""
    rows = 0
    if files:
        counted = f"SELECT count(*) FROM {parquet(files, late)} WHERE {only}"
        [rows] = oracle.database.execute(counted).fetchone()
    # By what the row is about, where only its place names it: that of a row that came twice may be another one here.
    named = order_of(table) if table.is_keyed else _touched().get(table.name, (order_of(table),))[0]
    # Times are left out: see above.
    key = [name for name in named if column_of(table, name).type != "timestamp"]
    number = 1 + rows // AT_ONCE
    return [f"hash({', '.join(map(quoted, key))}) % {number} = {n}" for n in range(number)]


def _touched() -> dict[str, tuple[tuple[str, ...], str]]:
    """What has changed by the oracle's account: table → the columns that tell, and a query for their values."""
    identities = {
        topic: ((contract.entity_id,), f"SELECT {contract.entity_id} FROM {BOTH}{topic}")
        for topic, contract in CONTRACTS.items()
    }
    return identities | TOUCHED


WHOLE = frozenset({"counts", *(QUERIES.keys() - _touched().keys())})  # compared as a whole at each look


def _claimed(table: Table, since: Manifest) -> str:
    """What the lake itself has written since."""
    if table.is_keyed:
        return f"{BATCH} > {since.number}"
    return _beyond("_partition", "_offset", since.until, table.topic)


def _beyond(partition: str, offset: str, since: Offsets, topic: str | None) -> str:
    ranges = [f'({partition} = {p} AND "{offset}" >= {end})' for (of, p), end in since.items() if of == topic]
    known = ", ".join(str(p) for of, p in since if of == topic)
    return f"({' OR '.join([*ranges, f'{partition} NOT IN ({known})' if known else 'true'])})"


def _check_quarantine(oracle: Oracle, root: str, manifest: Manifest, since: Manifest | None) -> Difference:
    """What the oracle refuses and why, and of each record all that bronze has of it, byte for byte."""
    names = [column.name for column in QUARANTINE.columns]
    columns = ", ".join(REASONS if name == "reasons" else quoted(name) for name in names)
    refused = [f"SELECT * FROM ({selected(QUARANTINE, root, manifest, 'false')})"]
    for (topic,) in oracle.database.execute("SELECT DISTINCT topic FROM _refused").fetchall():
        records = selected(
            bronze(CONTRACTS[topic]), root, manifest, _since("partition", "offset", since, topic)
        )
        judged = f"SELECT * FROM _refused WHERE topic = '{topic}'"
        refused.append(f'SELECT * FROM ({judged}) JOIN ({records}) USING (partition, "offset")')
    expected = f"SELECT {columns} FROM ({' UNION ALL BY NAME '.join(refused)})"
    new = [f"(topic = '{topic}' AND {_since('partition', 'offset', since, topic)})" for topic in CONTRACTS]
    actual = f"SELECT {columns} FROM ({selected(QUARANTINE, root, manifest, ' OR '.join(new))})"
    files = DeltaTable(f"{root}/{QUARANTINE.name}", version=manifest.tables[QUARANTINE.name]).file_uris()
    return compare_relations(
        oracle.database,
        QUARANTINE.name,
        lambda part: f"SELECT * FROM ({actual}) WHERE {part}",
        expected,
        names,
        _slices(oracle, QUARANTINE, files, "true" if since is None else " OR ".join(new)),
    )


def selected(table: Table, root: str, manifest: Manifest, only: str = "true") -> str:
    """The SELECT of a table as the manifest has it."""
    delta = DeltaTable(f"{root}/{table.name}", version=manifest.tables[table.name])
    return select(table, delta.file_uris(), only, late_columns(table, delta))


def _since(partition: str, offset: str, since: Manifest | None, topic: str) -> str:
    return "true" if since is None else _beyond(partition, offset, since.until, topic)

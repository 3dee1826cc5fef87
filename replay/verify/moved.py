"""Topics of which a key has records in several partitions, as it is where partitions were added. Pure.

Which of those records was counted first is not in the topics: whoever reads one partition first finds one changed and
the other superseded or repeated, another evaluation the other way round. So of such topics what was taken is compared
together, whatever it did, and of rows that came twice not the place of the one that is kept.
"""

from collections import Counter
from collections.abc import Collection, Mapping

from schemas.gold import RECORD_OUTCOMES
from schemas.table import Table
from serving.lake.dictionary import column_of
from serving.lake.views import quoted, sql_type

TAKEN = ("changed", "repeat", "superseded")  # records that were not refused
PLACE = ("_partition", "_offset")


def settled_counts(counts: Mapping[str, int], moved: Collection[str]) -> dict[str, int]:
    """Records by topic/partition/outcome."""
    found: Counter[str] = Counter()
    for name, records in counts.items():
        topic, partition, outcome = name.split("/")
        together = topic in moved and outcome in TAKEN
        found[f"{topic}/{partition}/taken" if together else name] += records
    return {name: records for name, records in found.items() if records}


def settled_rows(rows: str, table: Table, moved: Collection[str]) -> str:
    """A SELECT of a table's columns, as far as the records alone decide them."""
    if table.name == RECORD_OUTCOMES.name and moved:
        topics = ", ".join(f"'{topic}'" for topic in sorted(moved))
        first, *others = TAKEN
        columns = [(first, " + ".join(TAKEN)), *((name, "0") for name in others)]
        replaced = [
            f"if(topic IN ({topics}), {value}, {name})::{sql_type(column_of(table, name))} AS {name}"
            for name, value in columns
        ]
    elif table.topic in moved:
        names = {column.name for column in table.columns}
        replaced = [
            f"0::{sql_type(column_of(table, name))} AS {quoted(name)}" for name in PLACE if name in names
        ]
    else:
        return rows
    return f"SELECT * REPLACE ({', '.join(replaced)}) FROM ({rows})" if replaced else rows

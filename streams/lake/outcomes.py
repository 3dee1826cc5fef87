"""What becomes of each accepted record, given what was known before: changed, repeat, superseded or refused. Pure.

The same meaning as the live fold, for a whole batch at once: an entity's state is its row of the highest version; a
version not above it changes nothing, and the same version with other content is refused as a conflict.
"""

import polars as pl

from schemas.contract import Contract

CONFLICT = "version_conflict"
CHANGED, REPEAT, SUPERSEDED, REFUSED = "changed", "repeat", "superseded", "refused"
# What has to be known of an entity to judge its next record.
KNOWN = ("version", "_content", "event_id")


def change_outcomes(contract: Contract, accepted: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """`accepted`, which is in the order in which records are taken, with a column `_outcome`.

    `known` has one row for each entity that was there before, with its id and the columns of KNOWN.
    """
    entity = contract.entity_id
    before = known.select(entity, *(pl.col(name).alias(f"_known_{name}") for name in KNOWN))
    rows = accepted.join(before, on=entity, how="left", maintain_order="left")
    highest = pl.col("version").cum_max().shift(1).over(entity)
    rows = rows.with_columns(pl.max_horizontal(highest, "_known_version").alias("_floor"))
    advances = pl.col("_floor").is_null() | (pl.col("version") > pl.col("_floor"))
    rows = rows.with_columns(advances.alias("_advances"))
    rows = rows.with_columns(
        pl.when("_advances").then(name).forward_fill().shift(1).over(entity).fill_null(pl.col(f"_known_{name}"))
        .alias(f"_last_{name}")
        for name in ("_content", "event_id")
    )  # fmt: skip
    outcome = (
        pl.when("_advances").then(pl.lit(CHANGED))
        .when(pl.col("version") < pl.col("_floor")).then(pl.lit(SUPERSEDED))
        .when(pl.col("_content") != pl.col("_last__content")).then(pl.lit(REFUSED))
        .otherwise(pl.lit(REPEAT))
    )  # fmt: skip
    rows = rows.with_columns(outcome.alias("_outcome"))
    # An event that comes again under a higher version is a repeat and raises nothing, which no running maximum knows.
    again = rows.filter(pl.col("_advances") & (pl.col("event_id") == pl.col("_last_event_id"))).select(entity)
    if again.height:
        rows = _one_by_one(rows, entity, set(again[entity]))
    return rows.select(*accepted.columns, "_outcome")


def _one_by_one(rows: pl.DataFrame, entity: str, entities: set[str]) -> pl.DataFrame:
    """The outcomes of these entities' records anew, each from the one before it."""
    last: dict[str, tuple[int, int, str]] = {}
    outcomes = rows["_outcome"].to_list()
    columns = (entity, *KNOWN, *(f"_known_{name}" for name in KNOWN))
    for at, row in enumerate(rows.select(columns).iter_rows()):
        if row[0] not in entities:
            continue
        version, content, event_id = row[1:4]
        before = last.get(row[0]) or (row[4:7] if row[4] is not None else None)
        if before is None:
            outcomes[at] = CHANGED
        elif version < before[0]:
            outcomes[at] = SUPERSEDED
        elif version == before[0] and content != before[1]:
            outcomes[at] = REFUSED
        elif version == before[0] or event_id == before[2]:
            outcomes[at] = REPEAT
        else:
            outcomes[at] = CHANGED
        if outcomes[at] == CHANGED:
            last[row[0]] = (version, content, event_id)
    return rows.with_columns(pl.Series("_outcome", outcomes, pl.String))


def fact_outcomes(contract: Contract, accepted: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The same for facts: one counts once, and the same id under the same key again is a repeat.

    `known` has the ids and keys, of those in `accepted`, that were there before.
    """
    identity = [contract.entity_id, contract.key]
    rows = accepted
    seen = rows.select(*identity).join(
        known.select(*identity, pl.lit(True).alias("_seen")), on=identity, how="left", maintain_order="left"
    )
    first = rows.select(pl.struct(identity).is_first_distinct().alias("_first"))["_first"]
    new = first & seen["_seen"].is_null()
    return rows.with_columns(pl.when(new).then(pl.lit(CHANGED)).otherwise(pl.lit(REPEAT)).alias("_outcome"))


def newest(contract: Contract, changed: pl.DataFrame) -> pl.DataFrame:
    """Of rows that changed something, the last of each entity."""
    return changed.sort("version").unique(contract.entity_id, keep="last", maintain_order=True)

"""Bronze of one topic out of plain rows, for an oracle to take in."""

from collections.abc import Sequence

import duckdb
import polars as pl

from replay.verify.oracle import Oracle
from schemas.contract import CONTRACTS
from schemas.tables import bronze
from serving.lake.views import quoted
from streams.plain_judge import PlainJudge

Row = tuple[int, int, int, bytes, bytes]  # partition, offset, the broker's time (µs), key, value


def new_oracle(zone: str) -> Oracle:
    return Oracle(zone, duckdb.connect(config={"temp_directory": "", "threads": 1}))


def take_in(oracle: Oracle, topic: str, rows: Sequence[Row], judge: PlainJudge) -> None:
    """All of these rows."""
    frame = pl.DataFrame(rows, schema=["partition", "offset", "time", "key", "value"], orient="row")
    with duckdb.connect(config={"temp_directory": ""}) as lake:
        lake.register("_rows", frame.to_arrow())
        lake.execute(
            f'CREATE VIEW {quoted(bronze(CONTRACTS[topic]).name)} AS SELECT partition, "offset", '
            'make_timestamp("time") AS kafka_time, key, value FROM _rows'
        )
        ends = frame.group_by("partition").agg(pl.col("offset").max() + 1)
        oracle.advance(lake, {(topic, partition): end for partition, end in ends.iter_rows()}, judge)

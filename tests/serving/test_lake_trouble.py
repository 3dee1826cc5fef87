"""Errors of DuckDB are told apart by what they mean, the same at the first row and while the rest is fetched."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from serving.lake.trouble import Trouble, trouble

NARROW = {"threads": 1, "memory_limit": "20MB", "temp_directory": ""}
SORTED = "SELECT md5(i::VARCHAR) AS x FROM range(500_000) AS _(i) ORDER BY x"
GROWING = "SELECT repeat('x', if(i < 100_000, 1, 50_000)) FROM range(200_000) AS _(i)"


def files(home: Path) -> list[Path]:
    found = [home / "a.parquet", home / "b.parquet"]
    with duckdb.connect() as sql:
        for file in found:
            sql.execute(f"COPY (SELECT * FROM range(1_000_000)) TO '{file}' (ROW_GROUP_SIZE 10_000)")
    return found


def gone_before(home: Path) -> None:
    found = files(home)
    found[1].unlink()
    duckdb.connect(config=NARROW).execute(f"SELECT * FROM read_parquet({list(map(str, found))})").fetchall()


def gone_meanwhile(home: Path) -> None:
    found = files(home)
    with duckdb.connect(config=NARROW) as sql:
        rows = sql.execute(f"SELECT * FROM read_parquet({list(map(str, found))})")
        rows.fetchone()
        found[1].unlink()
        rows.fetchall()


def too_much_at_once(_: Path) -> None:
    duckdb.connect(config=NARROW).execute(SORTED).fetchall()


def too_much_later(_: Path) -> None:
    with duckdb.connect(config=NARROW) as sql:
        rows = sql.execute(GROWING)
        rows.fetchone()
        rows.fetchall()


def no_room(home: Path) -> None:
    (home / "file").touch()
    duckdb.connect(config={**NARROW, "temp_directory": str(home / "file" / "spill")}).execute(SORTED)


def wrong(_: Path) -> None:
    duckdb.connect().execute("SELECT nothing")


def wrong_later(_: Path) -> None:
    sql = duckdb.connect()
    rows = sql.execute("SELECT if(i < 500_000, i, error('IO Error: no')) FROM range(1_000_000) AS _(i)")
    rows.fetchone()
    rows.fetchall()


@pytest.mark.parametrize(
    ("happens", "meaning"),
    [
        (gone_before, Trouble.GONE),
        (gone_meanwhile, Trouble.GONE),
        (too_much_at_once, Trouble.MEMORY),
        (too_much_later, Trouble.MEMORY),
        (no_room, Trouble.DISK),
        (wrong, None),
        (wrong_later, None),
    ],
)
def test_what_happened_is_told(
    tmp_path: Path, happens: Callable[[Path], None], meaning: Trouble | None
) -> None:
    with pytest.raises(duckdb.Error) as raised:
        happens(tmp_path)
    assert trouble(raised.value) is meaning

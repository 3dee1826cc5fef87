"""What may go wrong while the lake is asked is a problem that says what to do, and no error of the service."""

import asyncio
import errno
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from serving.api.lake import work
from serving.api.lake.work import Budget, LakeWork
from serving.api.problems import Problem
from streams.lake.place import lake_root
from tests.helpers import isolated_settings
from tests.serving.lake_kit import SmallLake

SORTED = "SELECT md5(i::VARCHAR) AS x FROM range(500_000) AS _(i) ORDER BY x"


def problem_of(home: Path, asked: Callable[[Budget], object]) -> Problem:
    with pytest.raises(Problem) as raised:
        asyncio.run(LakeWork(isolated_settings(home)).run(asked))
    return raised.value


def sort(budget: Budget) -> None:
    with duckdb.connect() as sql:
        budget.limited(sql).execute(SORTED).fetchall()


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where questions have their directories; with so little memory that they need them."""
    found = tmp_path / "scratch"
    found.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    monkeypatch.setattr(work, "MEMORY", "20MB")
    return found


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path, scratch: Path) -> None:
    scratch.rmdir()
    found = problem_of(tmp_path, lambda _: None)
    assert (found.status, found.kind) == (503, "unavailable")
    assert "Retry-After" in found.headers


def test_no_room_for_what_does_not_fit_into_memory_is_told(tmp_path: Path, scratch: Path) -> None:
    def without_room(budget: Budget) -> None:
        [mine] = scratch.iterdir()
        mine.rmdir()
        mine.touch()
        sort(budget)

    found = problem_of(tmp_path, without_room)
    assert (found.status, found.kind) == (503, "unavailable")
    assert "disk is full" in found.detail
    assert str(scratch) not in found.detail


def test_a_full_disk_is_told(tmp_path: Path, scratch: Path) -> None:
    def full(_: Budget) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert problem_of(tmp_path, full).kind == "unavailable"


def test_a_question_that_takes_too_much_is_told(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "DISK", "1MB")
    found = problem_of(tmp_path, sort)
    assert (found.status, found.kind) == (503, "too-costly")


def test_how_far_the_lake_is_does_not_wait_for_slow_questions(tmp_path: Path) -> None:
    settings = isolated_settings(tmp_path)
    lake = SmallLake(lake_root(settings, "g1"), settings)
    lake.write({})
    lake.close()
    go_on = threading.Event()

    async def both() -> None:
        asked = LakeWork(settings)
        slow = [asyncio.create_task(asked.run(lambda _: go_on.wait(20))) for _ in range(work.AT_MOST)]
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="no more at once"):
            await asked.run(lambda _: None)
        assert [each.number for each in await asked.recent("g1", 5)] == [1]
        go_on.set()
        assert all(await asyncio.gather(*slow))

    asyncio.run(both())

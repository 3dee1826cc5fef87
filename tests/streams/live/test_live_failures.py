"""How the live job counts the failures of its query: one after the other, unless one has come on between."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.errors import StreamingQueryException

from streams.live.attempt import Attempt
from streams.live.job import STABLE_SECONDS, LiveJob


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def failing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, lives: list[tuple[float, bool]]
) -> list[tuple[int, float]]:
    """The failures in a row and the pause after each of these lives of a query: its seconds, and whether it commits."""
    clock, told = Clock(), []
    monkeypatch.setattr("streams.live.job.time", SimpleNamespace(monotonic=clock.monotonic))
    job, left = object.__new__(LiveJob), list(lives)
    commits = Attempt(1, None).checkpoint(directory) / "commits"
    commits.mkdir(parents=True)

    def life() -> None:
        seconds, commits_one = left.pop(0)
        clock.now += seconds
        if commits_one:
            commit = commits / str(len(left))
            commit.touch()
            os.utime(commit, (time.time() + clock.now,) * 2)
        raise StreamingQueryException("one of the records")

    def pause(seconds: float) -> None:
        told.append((job.failures, seconds))
        job.stop.asked = not left

    job.directory, job.attempt, job.stop, job.failures = (
        directory,
        Attempt(1, None),
        SimpleNamespace(asked=False),
        0,
    )
    job.run_query, job.pause, job.schemas_changed = life, pause, lambda: False
    job.report = SimpleNamespace(failed=lambda *_: None)
    job.answering = SimpleNamespace(failed=lambda: None)
    job.run()
    return told


def test_a_record_that_fails_after_minutes_each_time_is_one_failure_after_the_other(tmp_path, monkeypatch):
    told = failing(tmp_path, monkeypatch, [(200.0, False)] * 5)
    assert told == [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 15.0)]


def test_a_query_that_has_committed_or_lasted_begins_to_count_anew(tmp_path, monkeypatch):
    lives = [(1.0, False), (1.0, False), (1.0, True), (1.0, False), (STABLE_SECONDS + 1, False)]
    assert failing(tmp_path, monkeypatch, lives) == [(1, 1.0), (2, 2.0), (1, 0.5), (2, 1.0), (1, 0.5)]

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
    directory: Path, monkeypatch: pytest.MonkeyPatch, lives: list[tuple[float, bool, str]]
) -> list[tuple[int, float]]:
    """The failures in a row and the pause after each life of a query: its seconds, whether it commits, why it ends."""
    clock, told = Clock(), []
    monkeypatch.setattr("streams.live.job.time", SimpleNamespace(monotonic=clock.monotonic))
    job, left = object.__new__(LiveJob), list(lives)
    commits = Attempt(1, None).checkpoint(directory) / "commits"
    commits.mkdir(parents=True)

    def life() -> None:
        seconds, commits_one, reason = left.pop(0)
        clock.now += seconds
        if commits_one:
            commit = commits / str(len(left))
            commit.touch()
            os.utime(commit, (time.time() + clock.now,) * 2)
        raise StreamingQueryException(reason)

    def pause(seconds: float) -> None:
        told.append((job.failures, seconds))
        job.stop.asked = not left

    job.directory, job.attempt, job.stop = directory, Attempt(1, None), SimpleNamespace(asked=False)
    job.failures, job.reason = 0, ""
    job.run_query, job.pause, job.schemas_changed = life, pause, lambda: False
    job.report = SimpleNamespace(failed=lambda *_: None)
    job.answering = SimpleNamespace(failed=lambda: None)
    job.run()
    return told


def test_a_record_that_fails_after_minutes_each_time_is_one_failure_after_the_other(tmp_path, monkeypatch):
    told = failing(tmp_path, monkeypatch, [(STABLE_SECONDS + 1, False, "a record")] * 5)
    assert [failures for failures, _ in told] == [1, 2, 3, 4, 5]
    assert [seconds for _, seconds in told] == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_query_that_has_committed_or_fails_for_another_reason_begins_to_count_anew(tmp_path, monkeypatch):
    soon, late = 1.0, STABLE_SECONDS + 1
    lives = [
        (soon, False, "a"),
        (soon, False, "b"),
        (soon, True, "b"),
        (soon, False, "b"),
        (late, False, "c"),
        (late, True, "c"),
        (late, False, "d"),
    ]
    assert [failures for failures, _ in failing(tmp_path, monkeypatch, lives)] == [1, 2, 1, 2, 1, 1, 1]

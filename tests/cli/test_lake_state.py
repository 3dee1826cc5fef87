"""Whose status file and whose process the lake job of a generation is, before a switch and after it."""

import json
import os
import time
from pathlib import Path

import pytest

from dataflow.lake_state import lake_runs, lake_status
from infra.runtime.birth import birth
from infra.runtime.run_state import Run, write_run
from infra.settings import Settings

LONG_AGO = "1970-01-01"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The platform began with g1; g2 runs beside it."""
    settings = Settings.load({}, dataflow_home=tmp_path)
    (settings.state_dir / "status").mkdir(parents=True)
    for name, generation in (("lake", 1), ("lake@g2", 2)):
        told = {"state": "running", "at": time.time() - 100, "generation": f"g{generation}"}
        (settings.state_dir / "status" / f"{name}.json").write_text(json.dumps(told), "utf-8")
    write_run(settings.state_dir, run(settings, birth()))
    return settings


def run(settings: Settings, started: str) -> Run:
    rows = [{"name": "lake", "state": "ready", "pid": 11}, {"name": "lake@g2", "state": "failed", "pid": 12}]
    return Run("r", os.getpid(), started, settings.dataflow_env, time.time(), None, {}, rows, serves=1)


def test_each_generation_has_a_job_of_its_own_whichever_is_live(settings: Settings) -> None:
    assert lake_status(settings, 1)["generation"] == "g1"
    assert lake_status(settings, 2)["generation"] == "g2"
    assert lake_status(settings, 3) is None
    assert lake_runs(settings, 1) == "process 11, ready"
    assert lake_runs(settings, 2) is None  # it has failed


def test_where_no_platform_runs_the_job_is_the_one_that_a_platform_would_begin_with(
    settings: Settings,
) -> None:
    write_run(settings.state_dir, run(settings, LONG_AGO))
    assert lake_status(settings, 2)["generation"] == "g1"
    assert lake_runs(settings, 1) is None  # silent for long

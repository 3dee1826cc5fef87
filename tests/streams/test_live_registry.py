"""Trouble with the registry while the live query runs: it goes on with the schemas that it knows, and says so once."""

import json
import logging
from types import SimpleNamespace

import pytest

from infra.bootstrap import bootstrap
from infra.registry import Registry
from schemas.errors import ContractError, Unavailable
from streams.live.job import LiveJob
from streams.live.report import Report
from streams.world import World


def running(settings, world: World) -> LiveJob:
    """A live job without Spark, whose query runs."""
    job = LiveJob.__new__(LiveJob)
    job.report, job.world, job.schemas = Report(settings), world, world.schemas()
    job.out_of_touch = None
    return job


def test_the_query_keeps_its_schemas_and_the_status_tells_why_once(settings, tmp_path, caplog) -> None:
    settings = settings.replace(dataflow_status_file=tmp_path / "status.json")
    world = World(settings, bootstrap(settings))
    job = running(settings, world)
    real = world._schemas._registry

    def status() -> dict | None:
        job.report.write("running")
        return json.loads(settings.dataflow_status_file.read_text())["registry_failure"]

    caplog.set_level(logging.INFO)
    assert (job.schemas_changed(), status()) == (False, None)
    known = job.schemas
    world._schemas._registry = silent = Registry("http://127.0.0.1:9")
    assert [job.schemas_changed() for _ in range(3)] == [False] * 3
    assert "127.0.0.1:9" in status()["reason"]
    silent.close()
    world._schemas._registry = real
    assert (job.schemas_changed(), status()) == (False, None)
    # one that has lost everything
    world._schemas._registry = SimpleNamespace(versions=lambda _: [])
    assert [job.schemas_changed() for _ in range(3)] == [False] * 3
    assert "no schema is registered for" in status()["reason"]
    world._schemas._registry = real
    assert (job.schemas_changed(), status()) == (False, None)
    assert job.schemas == known
    assert sum("goes on with" in record.message for record in caplog.records) == 2
    world.close()


def test_at_the_start_a_silent_registry_may_come_back_and_a_missing_subject_does_not(settings) -> None:
    generation = bootstrap(settings)
    world = World(settings, generation)
    world._schemas._registry.close()
    world._schemas._registry = Registry("http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        world.schemas()
    world.close()
    nothing = World(settings.replace(dataflow_env=settings.dataflow_env + "x"), generation)
    with pytest.raises(ContractError, match=r"python -m infra\.bootstrap"):
        nothing.schemas()
    nothing.close()

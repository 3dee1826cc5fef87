"""Two live jobs of one generation at the same time: each record has two verdicts, of which one counts."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from dataflow.testing import Live, Raw
from dataflow.testing.live import spark_live_spec
from dataflow.testing.process import JobProcess
from infra.runtime.probes import status_file
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from sources.generator import GroundTruth, ShopSimulator, moments
from tests.bad_input.counting import outcomes
from tests.sources.generator_kit import ALL_UP, SPAN, START
from tests.testing.test_pipelines import nonzero, rows_of

PART = 400

pytestmark = [
    pytest.mark.slow,
    pytest.mark.longhaul,
    pytest.mark.timeout(900),
    pytest.mark.dataflow(live="spark", live_trigger_seconds=5),
]


@pytest.mark.parametrize("where", ["same directory", "another machine"])
def test_two_live_jobs_of_one_generation_leave_every_number_exact(
    live: Live, tmp_path: Path, where: str
) -> None:
    """In one directory they take each other's checkpoint, so that one keeps failing; on two machines both work."""
    truth = GroundTruth()
    shop = ShopSimulator(23, START, live.stream.codec.schema_ids, ALL_UP, truth=truth)
    emissions = iter(list(shop.emissions(moments(START, SPAN, 5 * PART))))

    def produce() -> None:
        part = list(islice(emissions, PART))
        live.stream.produce_all(Raw(each.topic, each.key, each.value) for each in part)

    home = live.settings.dataflow_home if where == "same directory" else tmp_path / "elsewhere"
    second = JobProcess(live.settings.replace(dataflow_home=home), second_spec)
    try:
        produce()
        live.settled(120)
        second.launch()
        produce()
        second.wait_ready()
        produce()
        live.settled(120)
        # Now the one, now the other is alone.
        live.jobs["live"].kill()
        produce()
        live.settled(180)
        assert second.alive(), second.log()
        live.jobs["live"].start()
        second.kill()
        produce()
        live.settled(180)
    finally:
        second.__exit__()
    for metric in ("revenue", "items", "payments", "customers", "funnel"):
        for grain in ("minute", "all"):
            assert rows_of(live, metric, grain) == nonzero(truth.rows(metric, grain)), (metric, grain)
    assert outcomes(live)["records"] == 5 * PART
    exactness = live.get("/v1/exactness")
    assert (exactness["exact"], exactness["held"]) == (True, {})


def second_spec(settings: Settings) -> ProcessSpec:
    """The job once more, with a log and a status of its own."""
    spec, status = spark_live_spec(settings), settings.state_dir / "status" / "second.json"
    env = {**spec.env, "DATAFLOW_STATUS_FILE": str(status)}
    return replace(spec, name="second", env=env, probe=status_file(status))

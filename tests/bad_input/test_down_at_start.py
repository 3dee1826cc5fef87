"""A service that is down when a job is started: the job says which one, and goes on once it is there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dataflow.testing import Environment, Events, Live, Services, wait_for
from dataflow.testing.live import spark_live_spec
from dataflow.testing.process import JobProcess
from infra.entry import EXIT_TRANSIENT
from infra.runtime import jobs
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from tests.bad_input.counting import measure
from tests.gate import Gate, gate_to

NOBODY = "127.0.0.1:9"
ELSEWHERE = {
    "broker": {"kafka_bootstrap_servers": NOBODY},
    "registry": {"kafka_schema_registry": f"http://{NOBODY}"},
    "redis": {"redis_port": 9},
}
SPECS: dict[str, Callable[[Settings], ProcessSpec]] = {
    "bootstrap": jobs.bootstrap_spec,
    "live": spark_live_spec,
    "materializer": jobs.materializer_spec,
}
SAYS = {
    "broker": "see whether the broker at KAFKA_BOOTSTRAP_SERVERS runs",
    "registry": f"the schema registry at http://{NOBODY} does not answer",
}

pytestmark = pytest.mark.slow


@pytest.fixture
def gates(dataflow_services: Services) -> Iterator[dict[str, Gate]]:
    """In front of each service."""
    shared = dataflow_services.settings
    addresses = {
        "broker": shared.kafka_bootstrap_servers,
        "registry": shared.kafka_schema_registry,
        "redis": f"{shared.redis_host}:{shared.redis_port}",
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(gate_to(address)) for name, address in addresses.items()}


@pytest.mark.parametrize(
    ("job", "service"),
    [
        pytest.param("bootstrap", "broker", marks=pytest.mark.longhaul),
        ("bootstrap", "registry"),
        ("live", "registry"),
        ("live", "broker"),
        pytest.param("materializer", "broker", marks=pytest.mark.longhaul),
    ],
)
@pytest.mark.cases(2)
def test_what_cannot_begin_ends_so_that_it_is_started_again_and_says_what_is_missing(
    dataflow_env: Environment, job: str, service: str
) -> None:
    """The live job is Spark's own: it looks before it starts a JVM."""
    settings = dataflow_env.settings.replace(**ELSEWHERE[service])
    process = JobProcess(settings, SPECS[job])
    try:
        process.launch()
        assert process.ended(120) == EXIT_TRANSIENT, process.log()
        told = [line for line in process.log().splitlines() if line.startswith("Unavailable: ")]
        assert len(told) == 1, process.log()
        assert SAYS[service] in told[0]
        assert "Traceback" not in process.log()
        assert not (settings.state_dir / "checkpoints").exists()
    finally:
        process.__exit__()


@pytest.mark.parametrize(
    "service",
    [
        pytest.param("broker", marks=pytest.mark.longhaul),
        "registry",
        pytest.param("redis", marks=pytest.mark.longhaul),
    ],
)
def test_jobs_that_are_started_before_it_count_everything_once_it_is_there(
    dataflow_services: Services, gates: dict[str, Gate], tmp_path: Path, service: str
) -> None:
    changes = {
        "kafka_bootstrap_servers": gates["broker"].address,
        "kafka_schema_registry": gates["registry"].url,
        "redis_port": gates["redis"].port,
    }
    gate = gates[service]
    with (
        dataflow_services.environment(tmp_path, "down", **changes) as environment,
        Live(environment, environment.stream(Events())) as live,
    ):
        live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 10)
        live.settled()
        live.stop()
        live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 5)
        gate.close()
        calls = gate.calls
        for job in live.jobs.values():
            job.launch()
        if service == "redis":
            job = live.jobs["materializer"]
            job.wait_status("the materializer's trouble", lambda status: status["state"] == "recovering")
            assert f"Redis at {gate.address} does not answer" in job.log()
        else:
            job = live.jobs["live"]
            wait_for(lambda: gate.calls > calls and not job.alive(), 120, "the end of what cannot begin")
            assert "Unavailable: " in job.log()
        gate.open()
        for job in live.jobs.values():
            job.wait_ready()
        live.settled(120)
        assert measure(live, "revenue", "orders") == 15
        assert live.get("/v1/exactness")["exact"] is True

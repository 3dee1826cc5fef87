"""The pytest plugin: fixtures, options and the marker of the test kit. Nothing happens in a test that asks for nothing.

Loaded by `pytest_plugins = ["dataflow.testing"]`. Only this module needs pytest.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# Its names are looked up when a fixture is made: only then may DataFlow's contracts be imported.
import dataflow.testing as kit

CONTRACTS_VARIABLE = "DATAFLOW_CONTRACTS"
INI_ADDRESSES = {
    "kafka": "dataflow_test_kafka",
    "registry": "dataflow_test_registry",
    "redis": "dataflow_test_redis",
}
MARKER = (
    "dataflow(live=…, **settings): which live job the fixture `live` runs, plain or spark, and settings of the test's "
    "environment, such as shop_timezone"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dataflow")
    group.addoption(
        "--dataflow-live",
        choices=("plain", "spark"),
        default="plain",
        help="the live job of the fixture `live`: in plain Python, at work at once, or Spark's (20 s)",
    )
    parser.addini(
        "dataflow_contracts",
        "directory of your own contracts and metrics; the environment's DATAFLOW_CONTRACTS wins",
        type="paths",
    )
    for name, option in INI_ADDRESSES.items():
        parser.addini(
            option, f"address of a {name} to test on; {option.upper()} in the environment wins", default=""
        )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    directories = config.getini("dataflow_contracts")
    if directories and not os.environ.get(CONTRACTS_VARIABLE):
        _name_contracts(directories[0])


def _name_contracts(directory: Path) -> None:
    """Declare the user's own contracts; too late once `schemas` is imported."""
    # By name: to import it here would be too early.
    loaded = sys.modules.get("schemas.contract")
    if loaded is not None and directory != loaded.OWN_DIRECTORY:
        raise pytest.UsageError(
            f"dataflow_contracts = {directory}: DataFlow's contracts were imported before pytest was configured, "
            "so yours are not among them. Import them in a conftest.py inside of functions, or set "
            f"{CONTRACTS_VARIABLE} in the environment"
        )
    os.environ[CONTRACTS_VARIABLE] = str(directory)


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The marker's arguments, the nearest ones first."""
    found: dict[str, Any] = {}
    for marker in request.node.iter_markers("dataflow"):
        found = {**marker.kwargs, **found}
    return found


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Those of the marker's arguments that are settings."""
    return {name: value for name, value in _marked(request).items() if name != "live"}


@pytest.fixture
def clock() -> "kit.Clock":
    """The time of events: it stands still until the test moves it."""
    return kit.Clock()


@pytest.fixture
def ids() -> "kit.Ids":
    """UUIDs that are the same in every run."""
    return kit.Ids()


@pytest.fixture
def events(clock: "kit.Clock", ids: "kit.Ids") -> "kit.Events":
    """Makes typed events: `events("orders", total_amount="129.90")`."""
    return kit.Events(clock, ids)


@pytest.fixture
def judge(request: pytest.FixtureRequest, events: "kit.Events") -> "kit.Judge":
    """The verdict on an event or on bytes, without services: `judge("orders", {"total_amount": "-1"}).reasons`."""
    most = _settings(request).get("max_event_bytes")
    return kit.Judge(events=events, **({} if most is None else {"max_bytes": most}))


@pytest.fixture
def offline(request: pytest.FixtureRequest, events: "kit.Events") -> "kit.Offline":
    """The whole live path in memory, without services; `offline.stream` produces to it."""
    return kit.Offline(events, **_settings(request))


@pytest.fixture
def metric(request: pytest.FixtureRequest, events: "kit.Events") -> Callable[..., list[dict[str, Any]]]:
    """The rows of a metric over events, in memory: `metric("revenue", [order, ABORT, cancelled], grain="day")`.

    The first argument is a metric's name, or a declaration of your own. Events may be given as fields of the metric's
    topic; those of others as pairs (topic, fields).
    """
    return partial(kit.rows_over, events=events, **_settings(request))


@pytest.fixture(scope="session")
def dataflow_addresses(pytestconfig: pytest.Config) -> "kit.Addresses":
    """Where the services are. Override it for those that your tests start themselves, in containers for instance."""
    given = {option.upper(): pytestconfig.getini(option) for option in INI_ADDRESSES.values()}
    return kit.Addresses.of({**given, **{name: value for name, value in os.environ.items() if value}})


@pytest.fixture(scope="session")
def dataflow_services(
    dataflow_addresses: "kit.Addresses", tmp_path_factory: pytest.TempPathFactory
) -> Iterator["kit.Services"]:
    """Kafka, registry and Valkey for all tests: embedded ones, started once, or those of `dataflow_addresses`."""
    with kit.running_services(tmp_path_factory.mktemp("services"), dataflow_addresses) as running:
        yield running


@pytest.fixture
def dataflow_env(
    request: pytest.FixtureRequest, dataflow_services: "kit.Services", tmp_path: Path
) -> Iterator["kit.Environment"]:
    """A fresh environment for the test: a prefix of its own, with topics, schemas and a generation."""
    label, changes = request.node.name, _settings(request)
    with dataflow_services.environment(tmp_path / "dataflow", label, **changes) as environment:
        yield environment


@pytest.fixture
def stream(dataflow_env: "kit.Environment", events: "kit.Events") -> "kit.Stream":
    """Produces typed events, raw records and crashes to the environment's source topics."""
    return dataflow_env.stream(events)


@pytest.fixture
def time_machine(
    request: pytest.FixtureRequest, dataflow_env: "kit.Environment", events: "kit.Events"
) -> Iterator[Callable[..., "kit.TimeMachine"]]:
    """A seeded history and what is evaluated of it: `machine = time_machine(seed=7, records=1_000)`; once a test.

    It begins at the time of the fixture `clock`, which it moves.
    """
    if {"stream", "live"} & {*request.fixturenames}:
        raise pytest.UsageError(
            "time_machine beside stream or live: expected machine.stream, whose records are of the history's time; "
            "those of the fixture stream are of the day on which the test runs"
        )
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            kit.TimeMachine(dataflow_env, **{"events": events, **options})
        )


@pytest.fixture
def live(
    request: pytest.FixtureRequest, dataflow_env: "kit.Environment", stream: "kit.Stream"
) -> Iterator["kit.Live"]:
    """The whole live path over the environment, at work; an ABORT in what `stream` produces kills it."""
    kind = _marked(request).get("live", request.config.getoption("--dataflow-live"))
    if kind not in ("plain", "spark"):
        raise pytest.UsageError(f"dataflow(live={kind!r}): expected plain or spark")
    with kit.Live(dataflow_env, stream, spark=kind == "spark") as running:
        yield running

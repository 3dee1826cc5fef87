"""A service that comes back at another address: jobs say which one they know, and a start with the new one goes on."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread

import pytest

from dataflow.testing import Environment, Events, Live, Services, wait_for
from infra.bootstrap import bootstrap
from infra.registry import Registry, schema_ids, subject
from infra.runtime.platform import SERVICES, Platform
from infra.runtime.ports import HOST
from infra.settings import Settings
from schemas.contract import CONTRACTS
from tests.bad_input.counting import measure
from tests.helpers import isolated_settings
from tests.serving.api.kit import assert_problem


@pytest.fixture
def taken() -> Iterator[ExitStack]:
    """Ports that somebody else has taken meanwhile."""
    with ExitStack() as stack:
        yield stack


class Stranger(TCPServer):
    """Somebody else's server: it closes each connection as soon as it has taken it."""

    allow_reuse_address = True


def occupy(stack: ExitStack, port: int) -> None:
    """The port of a service that has ended."""
    stranger = stack.enter_context(Stranger((HOST, port), BaseRequestHandler))
    thread = Thread(target=stranger.serve_forever, name="stranger")
    thread.start()
    stack.callback(thread.join)
    stack.callback(stranger.shutdown)


def valkey_of_its_own(dataflow_services: Services, home: Path) -> Settings:
    """Settings of the shared broker and registry, and of a Valkey that is still to be started."""
    shared = dataflow_services.settings
    return isolated_settings(
        home,
        kafka_bootstrap_servers=shared.kafka_bootstrap_servers,
        kafka_schema_registry=shared.kafka_schema_registry,
        kafka_partitions=2,
    )


@pytest.mark.cases(0)
def test_redis_at_another_port_is_missed_by_its_old_address_and_found_by_a_new_start(
    dataflow_services: Services, env_prefix: str, tmp_path: Path, taken: ExitStack
) -> None:
    chosen = valkey_of_its_own(dataflow_services, tmp_path).replace(dataflow_env=env_prefix)
    with ExitStack() as stack:
        platform = stack.enter_context(Platform(chosen, ("valkey",), preferred_ports=False))
        old = platform.settings
        environment = Environment(old, bootstrap(old), schema_ids(old))
        live = stack.enter_context(Live(environment, environment.stream(Events())))
        live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 10)
        live.settled()
        # Valkey ends, and when it is started again its port has been taken.
        platform.__exit__()
        occupy(taken, old.redis_port)
        platform = stack.enter_context(Platform(chosen, ("valkey",), preferred_ports=False))
        new = platform.settings
        assert new.redis_port != old.redis_port
        live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 5)
        wait_for(lambda: "claiming the state anew" in counter_log(live), 60, "the materializer's trouble")
        wait_for(
            lambda: f"{HOST}:{old.redis_port}" in counter_log(live), 60, "the address that does not answer"
        )
        problem = assert_problem(live.http.get("/v1/metrics/revenue"), 503, "unavailable")
        assert problem["detail"]
        live.stop()
        with Live(Environment(new, environment.generation, environment.schema_ids)) as again:
            again.settled()
            assert measure(again, "revenue", "orders") == 15
            assert again.get("/v1/exactness")["exact"] is True


@pytest.mark.slow
@pytest.mark.longhaul
@pytest.mark.timeout(600)
def test_after_a_restart_of_the_platform_all_are_found_where_they_are_now(
    tmp_path: Path, taken: ExitStack
) -> None:
    """Every port is somebody else's: broker, registry and Valkey move, ids and numbers stay, and everything is told."""
    chosen, events = isolated_settings(tmp_path, kafka_partitions=2), Events()
    with Platform(chosen, SERVICES, preferred_ports=False) as platform:
        old = platform.settings
        environment = Environment(old, bootstrap(old), schema_ids(old))
        with Live(environment, environment.stream(events)) as live:
            live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 10)
            live.settled()
    for port in (int(old.kafka_bootstrap_servers.rpartition(":")[2]), old.redis_port, registry_port(old)):
        occupy(taken, port)
    with Platform(chosen, SERVICES, preferred_ports=False) as platform:
        new = platform.settings
        for name in ("kafka_bootstrap_servers", "kafka_schema_registry", "redis_port"):
            assert getattr(new, name) != getattr(old, name)
        registry = Registry(new.kafka_schema_registry)
        for topic in CONTRACTS:
            assert registry.id_of(subject(new, topic), CONTRACTS[topic].avro) == environment.schema_ids[topic]
        registry.close()
        environment = Environment(new, bootstrap(new), schema_ids(new))
        with Live(environment, environment.stream(events)) as live:
            live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 5)
            live.settled()
            assert measure(live, "revenue", "orders") == 15
            assert live.get("/v1/exactness")["exact"] is True


def registry_port(settings: Settings) -> int:
    return int(settings.kafka_schema_registry.partition("//")[2].partition("/")[0].rpartition(":")[2])


def counter_log(live: Live) -> str:
    return (live.settings.state_dir / "materializer.log").read_text()

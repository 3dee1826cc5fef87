"""The registry is down while Spark runs: what nobody can decide waits, all else goes on, and nothing is lost."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dataflow.testing import Clock, Environment, Events, Live, Services, wait_for
from infra.bootstrap import bootstrap
from infra.registry import Registry, schema_ids, subject
from infra.runtime.platform import Platform
from tests.bad_input.kit import Maker, with_field
from tests.helpers import isolated_settings

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(1_200)]

NOBODYS_ID = 2_000_000_123


@pytest.fixture
def registry(dataflow_services: Services, env_prefix: str, tmp_path: Path) -> Iterator[Platform]:
    """A registry that can be stopped, beside the shared one and over the same journal."""
    shared = dataflow_services.settings
    chosen = isolated_settings(
        tmp_path,
        dataflow_env=env_prefix,
        kafka_bootstrap_servers=shared.kafka_bootstrap_servers,
        kafka_partitions=2,
        redis_host=shared.redis_host,
        redis_port=shared.redis_port,
        redis_db=shared.redis_db,
        redis_password=shared.redis_password,
    )
    with Platform(chosen, ("registry",), preferred_ports=False) as running:
        yield running


def test_with_the_registry_stopped_the_undecided_wait_and_are_settled_when_it_is_back(
    registry: Platform,
) -> None:
    settings = registry.settings
    environment = Environment(settings, bootstrap(settings), schema_ids(settings))
    stream = environment.stream(Events(Clock(datetime.now(UTC))))
    maker, note = (
        Maker(stream.codec, stream.events),
        with_field("reviews", "note", type=["null", "string"], default=None),
    )
    with Live(environment, stream, spark=True) as live:
        stream.produce_all([("clickstream", {})] * 3)
        live.settled(240)
        running = {name: job.pid for name, job in live.jobs.items()}
        client = Registry(settings.kafka_schema_registry)
        schema_id = client.register(subject(settings, "reviews"), note)
        client.close()
        registry.stop_process("registry")
        stream.produce_all([maker.odd("reviews", schema_id, note, note=b"x") for _ in range(3)])
        [unknown] = stream.produce_all([maker.framed("orders", NOBODYS_ID)])
        stream.produce_all([("clickstream", {})] * 5)

        def waits() -> bool:
            return "nobody says whether there is one" in live.get("/v1/exactness")["held"].get(
                f"orders/{unknown.partition}", ""
            )

        wait_for(waits, 120, "a partition that waits for the registry")
        wait_for(lambda: live.rows("clicks")[0]["events"] == 8, 120, "what needs no registry")
        assert live.dead_letters() == []
        assert live.get("/v1/exactness")["counts"]["refused"] == 0

        registry.start_process("registry")
        registry.wait_ready("registry")
        live.settled(400)
        assert [(each.place, each.reasons) for each in live.dead_letters()] == [
            (unknown, ("unknown_schema_id",))
        ]
        exactness = live.get("/v1/exactness")
        assert (exactness["exact"], exactness["held"]) == (True, {})
        assert (exactness["counts"]["changed"], exactness["counts"]["refused"]) == (11, 1)
        assert {name: job.pid for name, job in live.jobs.items()} == running

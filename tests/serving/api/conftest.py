"""Environments for the API's tests: a fresh one per test for live state, one for the whole run to send events to."""

from collections.abc import Iterator

import pytest

from infra.bootstrap import bootstrap
from infra.generation import first_generation
from infra.generations import Generation
from infra.kafka import admin, ensure_topics
from infra.runtime.platform import Platform
from infra.settings import Settings
from schemas.errors import GenerationError
from schemas.topics import JUDGED, TOPICS
from tests.helpers import wait_for
from tests.serving.api.kit import Running, State, serving


def started(settings: Settings) -> Generation | None:
    """Generation g1; None while the broker does not yet describe a topic that it has just created."""
    try:
        return first_generation(settings)
    except GenerationError:
        return None


@pytest.fixture
def world(settings: Settings) -> Settings:
    """Settings of an environment with topics and generation g1; without schemas, so nothing can be sent to it."""
    settings = settings.replace(kafka_partitions=2)
    topics = {settings.topic_prefix + name: topic for name, topic in TOPICS.items() if name != JUDGED}
    ensure_topics(admin(settings.kafka_bootstrap_servers), topics, settings.kafka_partitions, 1)
    wait_for(lambda: started(settings), what="the generation")
    return settings


@pytest.fixture
def state(world: Settings) -> Iterator[State]:
    found = State(world)
    yield found
    found.close()


@pytest.fixture
def api(world: Settings, state: State) -> Iterator[Running]:
    """The API, ready, over a state that begins empty."""
    with serving(world) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="package")
def shop(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an environment that events can be sent to, the same for all tests."""
    home = tmp_path_factory.mktemp("shop")
    settings = platform.settings.replace(
        dataflow_env="shop", dataflow_home=home, kafka_partitions=2, api_max_body_bytes=1_048_576
    )
    bootstrap(settings)
    return settings


@pytest.fixture(scope="package")
def shop_api(shop: Settings) -> Iterator[Running]:
    """The API over `shop`, with a live state that has counted nothing."""
    state = State(shop)
    with serving(shop) as running:
        running.wait_ready()
        yield running
    state.close()

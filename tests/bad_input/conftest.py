"""One live path for all tests that need a real one: broker, live job, materializer, REST; each sees what it adds."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from dataflow.testing import Clock, Events, Live, Services
from tests.bad_input.kit import Maker


@pytest.fixture(scope="package")
def shop(dataflow_services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The live path over an environment that these tests share; its events happen now."""
    home = tmp_path_factory.mktemp("bad-input")
    with (
        dataflow_services.environment(home, "bad-input") as environment,
        Live(environment, environment.stream(Events(Clock(datetime.now(UTC))))) as live,
    ):
        yield live


@pytest.fixture
def maker(shop: Live) -> Maker:
    """Makes records for `shop`."""
    return Maker(shop.stream.codec, shop.stream.events)

"""This run's services, for runs of pytest that the tests start."""

import pytest

from dataflow.testing import Services
from dataflow.testing.services import VARIABLES


@pytest.fixture
def addresses(dataflow_services: Services) -> dict[str, str]:
    """The environment that names them."""
    settings = dataflow_services.settings
    return {
        VARIABLES["kafka"]: settings.kafka_bootstrap_servers,
        VARIABLES["registry"]: settings.kafka_schema_registry,
        VARIABLES["redis"]: f"{settings.redis_host}:{settings.redis_port}",
    }

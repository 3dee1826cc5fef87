"""What many tests share: one real broker, registry and Redis for the whole run, a fresh environment per test.

A test that takes `settings` has Kafka topics, registry subjects and Redis keys under a prefix of its own.
"""

import signal
import uuid
from pathlib import Path

import pytest

from dataflow.testing import Services
from infra.runtime.platform import Platform
from infra.settings import Settings

pytest_plugins = ["dataflow.testing"]

# A shell's background job ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def platform(dataflow_services: Services) -> Platform:
    """A real broker, registry and Valkey for the whole run. Who wants to kill one starts a Platform of their own."""
    return dataflow_services.platform


@pytest.fixture
def env_prefix() -> str:
    """The name of an environment that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def settings(platform: Platform, env_prefix: str, tmp_path: Path) -> Settings:
    """Settings of a fresh environment on the shared services, with a state directory of its own."""
    return platform.settings.replace(dataflow_env=env_prefix, dataflow_home=tmp_path)

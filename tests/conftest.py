"""What many tests share: one real broker, registry and Redis for the whole run, a fresh environment per test.

A test that takes `settings` has Kafka topics, registry subjects and Redis keys under a prefix of its own.
"""

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.runtime.platform import SERVICES, Platform
from infra.settings import Settings
from tests.helpers import isolated_settings

# A shell's background job ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A real broker, registry and Valkey for the whole run. Who wants to kill one starts a Platform of their own."""
    settings = isolated_settings(tmp_path_factory.mktemp("platform"))
    with Platform(settings, SERVICES, preferred_ports=False) as running:
        yield running


@pytest.fixture
def env_prefix() -> str:
    """The name of an environment that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def settings(platform: Platform, env_prefix: str, tmp_path: Path) -> Settings:
    """Settings of a fresh environment on the shared services, with a state directory of its own."""
    return platform.settings.replace(dataflow_env=env_prefix, dataflow_home=tmp_path)

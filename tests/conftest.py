"""What many tests share: one real broker, registry and Redis for the whole run, a fresh environment per test.

A test that takes `settings` has Kafka topics, registry subjects and Redis keys under a prefix of its own.
"""

import signal
import uuid
from collections import Counter
from pathlib import Path

import pytest

from dataflow.testing import Services
from infra.runtime.platform import Platform
from infra.settings import Settings

pytest_plugins = ["dataflow.testing"]

# A shell's background job ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fewer-cases", action="store_true", help="of a test marked cases(n), only the first n")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --fewer-cases leave out what is over the n of `cases(n)`, among those that -m and -k left."""
    if not config.getoption("--fewer-cases"):
        return
    seen: Counter[str] = Counter()
    left_out = []
    for item in items:
        mark = item.get_closest_marker("cases")
        test = item.nodeid.partition("[")[0]
        seen[test] += 1
        if mark and seen[test] > mark.args[0]:
            left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


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

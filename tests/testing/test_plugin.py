"""The plugin as a user's suite has it: nothing without being asked, own contracts, services by address, the example."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import dataflow.testing
from dataflow.testing import Addresses, Services
from infra.kafka import admin
from schemas.errors import SettingsError
from serving.store.store import connect

ROOT = Path(__file__).parents[2]
SUITE = 'pytest_plugins = ["dataflow.testing"]\n'


def python(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Python in a directory of the user's, with no setting of DataFlow's but `environ`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATAFLOW_", "PYTEST_"))
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def run(directory: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    """pytest there: its exit status and what it says."""
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:valkey")
    done = python(directory, "-m", "pytest", *options, *arguments, **environ)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A user's suite, to be filled."""
    (tmp_path / "conftest.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    return tmp_path


def names_on(services: Services) -> set[str]:
    """Every topic but Kafka's own, every subject and Redis key on the services."""
    settings, found = services.settings, set()
    topics = admin(settings.kafka_bootstrap_servers).list_topics(timeout=15).topics
    found |= {name for name in topics if not name.startswith("__")}
    found |= set(httpx.get(f"{settings.kafka_schema_registry}/subjects", trust_env=False).json())
    redis = connect(settings)
    found |= {key.decode() for key in redis.scan_iter()}
    redis.close()
    return found


def test_the_public_names_are_sorted_and_all_there() -> None:
    names = dataflow.testing.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    for name in names:
        assert getattr(dataflow.testing, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = dataflow.testing.Nothing


def test_to_import_the_kit_imports_neither_pytest_nor_any_contract(tmp_path: Path) -> None:
    code = "import sys, dataflow.testing; print(sorted({'pytest', 'schemas', 'infra'} & sys.modules.keys()))"
    assert python(tmp_path, "-c", code).stdout == "[]\n"


def test_all_but_the_plugin_works_without_pytest(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from dataflow.testing import *\n"
        "print(rows_over('revenue', [{'total_amount': '5.00'}, ABORT])[0]['gross'])"
    )
    done = python(tmp_path, "-c", code)
    assert done.stdout == "5.00\n", done.stderr


def test_a_suite_that_asks_for_nothing_gets_nothing(suite: Path) -> None:
    (suite / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert not {'schemas', 'infra', 'confluent_kafka'} & sys.modules.keys()\n"
    )
    status, said = run(suite)
    assert status == 0, said


def test_the_fixtures_say_what_they_are(suite: Path) -> None:
    _, said = run(suite, "--fixtures")
    for name in ("clock", "events", "ids", "judge", "live", "metric", "offline", "stream"):
        assert re.search(rf"^{name} -- \S+/plugin\.py:\d+\n    (?!no docstring)\S", said, re.MULTILINE), name
    _, said = run(suite, "--markers")
    assert "@pytest.mark.dataflow(live=" in said


def test_own_contracts_are_named_in_the_configuration(suite: Path) -> None:
    own = ROOT / "examples" / "returns"
    (suite / "pytest.ini").write_text(f"[pytest]\ndataflow_contracts = {own}\n")
    (suite / "test_it.py").write_text("def test_it(judge):\n    assert judge('returns', {}).accepted\n")
    status, said = run(suite)
    assert status == 0, said
    status, said = run(suite, DATAFLOW_CONTRACTS=str(suite))
    assert status != 0
    assert f"DATAFLOW_CONTRACTS={suite}: expected a directory with the contracts" in said
    (suite / "conftest.py").write_text(SUITE + "from dataflow.testing import Events\n")
    status, said = run(suite)
    assert status != 0
    assert "DataFlow's contracts were imported before pytest was configured" in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Addresses(kafka="localhost:9092"), "DATAFLOW_TEST_REGISTRY: expected the registry's address too"),
        (
            Addresses(redis="localhost"),
            r"DATAFLOW_TEST_REDIS: expected host:port or redis://.* saw 'localhost'",
        ),
        (Addresses(redis="http://localhost:1"), "DATAFLOW_TEST_REDIS: expected host:port"),
        (Addresses(redis="redis://localhost:1/one"), "DATAFLOW_TEST_REDIS: expected host:port"),
        (Addresses(redis="redis://somebody:secret@localhost:1"), "DATAFLOW_TEST_REDIS: expected host:port"),
    ],
)
def test_an_address_that_is_none_is_told(given: Addresses, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        given.as_settings()


def test_addresses_are_taken_as_people_write_them() -> None:
    environ = {
        "DATAFLOW_TEST_KAFKA": "a:1,b:2",
        "DATAFLOW_TEST_REGISTRY": "c:3",
        "DATAFLOW_TEST_REDIS": "d:4",
    }
    assert Addresses.of(environ).as_settings() == {
        "kafka_bootstrap_servers": "a:1,b:2",
        "kafka_schema_registry": "http://c:3",
        "redis_host": "d",
        "redis_port": 4,
        "redis_db": 0,
    }
    redis = Addresses(redis="redis://:se%2Fcret@d:4/7").as_settings()
    assert redis == {"redis_host": "d", "redis_port": 4, "redis_db": 7, "redis_password": "se/cret"}


def test_a_fixture_of_the_users_may_give_the_addresses(suite: Path, addresses: dict[str, str]) -> None:
    """As one that starts containers would, beside contracts of one's own."""
    given = ", ".join(repr(address) for address in addresses.values())
    (suite / "conftest.py").write_text(
        f"{SUITE}import pytest\n@pytest.fixture(scope='session')\ndef dataflow_addresses():\n"
        f"    from dataflow.testing import Addresses\n    return Addresses({given})\n"
    )
    (suite / "pytest.ini").write_text(f"[pytest]\ndataflow_contracts = {ROOT / 'examples' / 'returns'}\n")
    (suite / "test_it.py").write_text(
        "def test_it(stream, dataflow_services):\n"
        "    assert dataflow_services.external\n"
        "    assert stream.produce('orders').offset == 0\n"
        "    assert stream.produce('returns').offset == 0\n"
    )
    status, said = run(suite)
    assert status == 0, said


def test_the_example_suite_passes_and_leaves_nothing_on_services_that_are_not_its_own(
    dataflow_services: Services, addresses: dict[str, str]
) -> None:
    before = names_on(dataflow_services)
    status, said = run(ROOT / "examples" / "testing", **addresses)
    assert status == 0, said
    assert "21 passed" in said
    assert names_on(dataflow_services) - before == set()

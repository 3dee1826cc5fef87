"""A shell in an environment that exists, and the API over it."""

from collections.abc import Iterator

import pytest

from infra.bootstrap import bootstrap
from infra.registry import schema_ids
from infra.settings import Settings
from sources.codec import EventCodec
from tests.cli.kit import DeadLetterWriter, Shell
from tests.serving.api.kit import Running, State, serving


@pytest.fixture
def shell(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Shell:
    """A shell in which nothing runs."""
    monkeypatch.setenv("DATAFLOW_ENV_FILE", "")
    monkeypatch.setenv("DATAFLOW_HOME", str(tmp_path / "nothing"))
    return Shell(capsys)


@pytest.fixture
def environment(shell: Shell, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Topics, schemas and a generation, to which the shell's variables point."""
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    for name, value in settings.environ().items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def codec(environment: Settings) -> EventCodec:
    return EventCodec(schema_ids(environment))


@pytest.fixture
def letters(environment: Settings) -> DeadLetterWriter:
    return DeadLetterWriter(environment)


@pytest.fixture
def state(environment: Settings) -> Iterator[State]:
    found = State(environment)
    yield found
    found.close()


@pytest.fixture
def api(environment: Settings, state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """The API, ready, to which the shell's variables point."""
    with serving(environment) as running:
        running.wait_ready()
        monkeypatch.setenv("API_PORT", str(running.settings.api_port))
        yield running

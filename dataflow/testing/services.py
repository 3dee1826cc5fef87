"""The services that tests run on: an embedded broker, registry and Valkey, or others by their addresses.

Each test gets an environment of its own on them: a prefix, under which it has topics, schemas, a generation and keys.
Writes the services' state below the directory that it is given.
"""

import gc
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from dataflow.testing.cleaning import remove_environment
from dataflow.testing.events import Events
from dataflow.testing.kafka_log import KafkaLog
from dataflow.testing.stream import Stream
from infra.bootstrap import bootstrap
from infra.generations import Generation
from infra.registry import schema_ids
from infra.runtime.platform import SERVICES, Platform
from infra.settings import Settings
from schemas.contract import OWN_DIRECTORY
from schemas.errors import SettingsError
from sources.codec import EventCodec

VARIABLES = {
    "kafka": "DATAFLOW_TEST_KAFKA",
    "registry": "DATAFLOW_TEST_REGISTRY",
    "redis": "DATAFLOW_TEST_REDIS",
}
PARTITIONS = 2  # enough for records of one topic to be in different ones
LABEL_LENGTH = 20
KEPT_VARIABLES = ("JAVA_HOME", "XDG_CACHE_HOME")


@dataclass(frozen=True)
class Addresses:
    """Where services are that need not be started: `host:port` each. None: it is embedded.

    `kafka` may name several brokers, `registry` may be the base URL of a Confluent-compatible API, `redis` may be
    `redis://:password@host:port/db`.
    """

    kafka: str | None = None
    registry: str | None = None
    redis: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """From DATAFLOW_TEST_KAFKA, DATAFLOW_TEST_REGISTRY and DATAFLOW_TEST_REDIS."""
        return cls(**{name: environ.get(variable) or None for name, variable in VARIABLES.items()})

    def as_settings(self) -> dict[str, Any]:
        """The settings that say so. Raises SettingsError."""
        if self.kafka and not self.registry:
            raise SettingsError(
                f"{VARIABLES['registry']}: expected the registry's address too, since an embedded one would keep its "
                "journal in topics of the Kafka that is not ours; set it, or start both by leaving out "
                f"{VARIABLES['kafka']}"
            )
        registry = self.registry
        if registry and "://" not in registry:
            registry = f"http://{registry}"
        found = {"kafka_bootstrap_servers": self.kafka, "kafka_schema_registry": registry, **self._redis()}
        return {name: value for name, value in found.items() if value is not None}

    def _redis(self) -> dict[str, Any]:
        if not self.redis:
            return {}
        url = urlsplit(self.redis if "://" in self.redis else f"redis://{self.redis}")
        try:
            host, port, db = url.hostname, url.port, int(url.path.strip("/") or 0)
        except ValueError:
            host, port, db = None, None, 0
        if url.scheme != "redis" or not host or not port or url.username:
            raise SettingsError(
                f"{VARIABLES['redis']}: expected host:port or redis://[:password@]host:port[/db], saw {self.redis!r}"
            )
        password = url.password and unquote(url.password)
        return {"redis_host": host, "redis_port": port, "redis_db": db, "redis_password": password}


@dataclass(frozen=True)
class Environment:
    """An environment that is ready: topics, schemas under the ids `schema_ids` (by topic), a generation."""

    settings: Settings
    generation: Generation
    schema_ids: Mapping[str, int]

    def stream(self, events: Events | None = None, *, stamped: bool = False) -> Stream:
        """What produces to its source topics; `stamped` with the time of the events' clock, see `KafkaLog`."""
        events = events or Events()
        log = KafkaLog(self.settings, events.clock if stamped else None)
        return Stream(log, EventCodec(self.schema_ids), events)


class Services:
    """Services that run. `settings` have their addresses; `external` ones were there before and stay."""

    def __init__(self, platform: Platform, external: bool) -> None:
        self.platform, self.external = platform, external

    @property
    def settings(self) -> Settings:
        return self.platform.settings

    @contextmanager
    def environment(self, home: Path, label: str = "", **changes: Any) -> Iterator[Environment]:
        """A fresh environment with its state in `home`; `changes` are settings, `label` is shown in its prefix.

        What it leaves on services that are not ours is removed at the end.
        """
        words = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
        name = f"t-{words}"[:LABEL_LENGTH].rstrip("-") + f"-{uuid.uuid4().hex[:8]}"
        values = {"dataflow_env": name, "dataflow_home": home, "kafka_partitions": PARTITIONS, **changes}
        settings = self.settings.replace(**values)
        try:
            yield Environment(settings, bootstrap(settings), schema_ids(settings))
        finally:
            if self.external:
                remove_environment(settings)


@contextmanager
def running_services(home: Path, addresses: Addresses | None = None) -> Iterator[Services]:
    """Start what has no address, below `home`, and stop it at the end.

    Raises SettingsError for an address that is none, SetupError if this machine lacks Java or the jars, StartFailed.
    """
    given = (addresses or Addresses()).as_settings()
    settings = isolated_settings(home, **given)
    # A service whose address is set is not started.
    with Platform(settings, SERVICES, preferred_ports=False) as platform:
        yield Services(platform, external=bool(given))
        # What tests have left to the garbage collector would complain of the broker's end.
        gc.collect()


def isolated_settings(home: Path, **changes: Any) -> Settings:
    """Settings without the shell and `.env`, the state under `home`; the jars come from the user's cache."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    values = {"dataflow_env": "test", "dataflow_home": home, "dataflow_contracts": OWN_DIRECTORY, **changes}
    return Settings.load({"DATAFLOW_ENV_FILE": "", **kept}, **values)

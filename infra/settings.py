"""All settings of DataFlow: one frozen object, built once at the edge from the environment and `.env`.

Every field is the environment variable of the same name in upper case; `.env.example` documents each. Nothing below the
edge reads the environment. `DATAFLOW_ENV_FILE` names another file than `./.env` (empty: none). An address that is not
set (Kafka, registry, Redis) means "embedded": the supervisor starts the service and hands its address to its children.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from infra.api_keys import ApiKey, parse_api_keys
from schemas.errors import SettingsError
from schemas.extension import ENV_FILE_VARIABLE

NO_ZONES = ("localtime", "Factory", "posixrules")  # in the database of zones, but of no place
ENV_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
# As `limits` reads it; it is not asked here, for it takes 0.1 s to import.
RATE_LIMIT = (
    r"^(auto|off|[1-9][0-9]{0,6}/(second|minute|hour|day)(;[1-9][0-9]{0,6}/(second|minute|hour|day))*)$"
)
FAILPOINT = r"^[a-z_]+(\.[a-z_]+)+(:[1-9][0-9]*)?$"
HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^\s:,/@]+):([0-9]{1,5})")

FASTEST = 10_000_000  # records a second that a replay may be held to

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Frozen settings. Secrets are masked when printed; `environ()` is the form for a child process."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, validate_default=True
    )

    dataflow_env: str = "demo"
    dataflow_home: Path = Path(".dataflow")
    dataflow_generation: int | None = Field(None, ge=1)  # that this process serves; else the live one
    dataflow_tree: Path | None = None  # of the code that a replay takes; set by the supervisor for the API
    dataflow_tree_contracts: Path | None = None
    dataflow_tree_settings: str | None = None  # JSON
    replay_records_per_second: int = Field(0, ge=0, le=FASTEST)  # of one that is not live; 0: no limit
    dataflow_contracts: Path | None = None  # read by schemas.extension; here for the children
    kafka_bootstrap_servers: str | None = None
    kafka_schema_registry: str | None = None
    kafka_partitions: int = Field(4, ge=1, le=256)
    kafka_replication_factor: int = Field(1, ge=1, le=32)
    redis_host: str | None = None
    redis_port: Port = 6379
    redis_password: SecretStr | None = None
    redis_db: int = Field(0, ge=0, le=1023)
    spark_master: str | None = None
    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_socket: int | None = Field(None, ge=3)  # the listening socket that the supervisor hands over
    api_preview_port: Port | None = None  # where this process answers too, whichever generation is live
    api_max_body_bytes: int = Field(8_388_608, ge=1_024, le=268_435_456)
    api_max_live_clients: int = Field(5_000, ge=1, le=100_000)
    api_rate_limit: str = Field("auto", pattern=RATE_LIMIT)
    dataflow_api_keys: SecretStr = SecretStr("")
    shop_currency: str = Field("USD", pattern=r"^[A-Z]{3}$")
    shop_timezone: str = "UTC"
    live_trigger_seconds: int = Field(600, ge=5, le=3600)  # Real-Time Mode takes no shorter ones
    live_mode: Literal["realtime", "microbatch"] = "realtime"
    lake_uri: Path | None = None  # a directory, local or mounted
    lake_trigger_seconds: int = Field(5, ge=0, le=3600)
    lake_batch_records: int = Field(500_000, ge=1, le=10_000_000)
    verify_seconds: int = Field(30, ge=1, le=86_400)  # between two rounds of the verifier
    verify_whole_seconds: int = Field(900, ge=1, le=2_592_000)  # after which it compares everything again
    max_event_bytes: int = Field(262_144, ge=1_024, le=786_432)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    dataflow_status_file: Path | None = None
    dataflow_failpoint: str | None = Field(None, pattern=FAILPOINT)
    java_home: Path | None = None
    xdg_cache_home: Path | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **changes: Any) -> Self:
        """Settings from `environ` (default: this process's) over `.env` over the defaults; `changes` win over all.

        Raises SettingsError that names each wrong variable, what it may be and what it was.
        """
        environ = os.environ if environ is None else environ
        env_file = environ.get(ENV_FILE_VARIABLE, ".env") or None
        lowered = {name.lower(): value for name, value in environ.items()}
        values = {name: lowered[name] for name in cls.model_fields if lowered.get(name)}
        try:
            return cls(_env_file=env_file, **{**values, **changes})
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load` hands the environment in itself, so that a test can hand in another one."""
        return init_settings, dotenv_settings

    @field_validator("dataflow_env")
    @classmethod
    def _env_name(cls, value: str) -> str:
        if not ENV_NAME.fullmatch(value):
            raise ValueError("expected a letter, then up to 30 letters, digits or '-', all lower case")
        return value

    @field_validator("lake_uri", mode="before")
    @classmethod
    def _directory(cls, value: Any) -> Any:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                "expected a directory, local or mounted, on a file system with hard links, and no URL: an object store "
                "is not supported"
            )
        return value

    @field_validator(
        "dataflow_home",
        "dataflow_contracts",
        "dataflow_tree",
        "dataflow_tree_contracts",
        "xdg_cache_home",
        "java_home",
        "dataflow_status_file",
        "lake_uri",
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = [part.strip() for part in value.split(",") if part.strip()]
        bad = [
            part
            for part in parts
            if not HOST_PORT.fullmatch(part) or not 0 < int(part.rsplit(":", 1)[1]) < 65536
        ]
        if bad or not parts:
            raise ValueError(f"expected host:port[,host:port…], not {', '.join(bad) or 'nothing'}")
        return ",".join(parts)

    @field_validator("kafka_schema_registry")
    @classmethod
    def _base_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
            raise ValueError("expected the base URL of a Confluent-compatible API, such as http://host:8081")
        return value and value.rstrip("/")

    @field_validator("shop_timezone")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        try:
            if value in NO_ZONES:
                raise KeyError(value)
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError(
                "expected a time zone of the IANA database, such as UTC or Europe/Vienna"
            ) from None
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("dataflow_api_keys")
    @classmethod
    def _api_keys(cls, value: SecretStr) -> SecretStr:
        parse_api_keys(value.get_secret_value())
        return value

    @property
    def topic_prefix(self) -> str:
        """What every Kafka topic of this environment starts with: `demo.`."""
        return f"{self.dataflow_env}."

    @property
    def redis_prefix(self) -> str:
        """What every Redis key of this environment starts with: `demo:`."""
        return f"{self.dataflow_env}:"

    @property
    def state_dir(self) -> Path:
        """Where this environment keeps everything: broker and Redis data, checkpoints, logs."""
        return self.dataflow_home / self.dataflow_env

    @property
    def cache_dir(self) -> Path:
        """What all environments of this user share and `make setup` can bring again: jars, Java wrappers."""
        if self.xdg_cache_home:
            return self.xdg_cache_home / "dataflow"
        try:
            home = Path.home()
        except RuntimeError:  # no HOME, and no entry in the user database
            home = Path("/")
        # An empty HOME reads as "/", which is no place to write to.
        return self.dataflow_home / ".cache" if home == Path("/") else home / ".cache" / "dataflow"

    @property
    def api_keys(self) -> tuple[ApiKey, ...]:
        """The keys of DATAFLOW_API_KEYS as values."""
        return parse_api_keys(self.dataflow_api_keys.get_secret_value())

    @property
    def api_is_loopback(self) -> bool:
        """Whether the API is reachable from this machine only (then it needs no keys)."""
        if self.api_host == "localhost":
            return True
        try:
            return ip_address(self.api_host.strip("[]")).is_loopback
        except ValueError:
            return False

    def check_api_exposure(self) -> None:
        """Raise SettingsError when the API would be open to other machines without keys."""
        if not self.api_is_loopback and not self.api_keys:
            raise SettingsError(
                f"API_HOST={self.api_host} is reachable from other machines, so DATAFLOW_API_KEYS must be set "
                "(name:secret:read+write,…), and it is not. Set keys, or API_HOST=127.0.0.1."
            )

    def replace(self, **changes: Any) -> Self:
        """A validated copy with other values; neither the environment nor `.env` is read again."""
        try:
            return type(self)(_env_file=None, **{**self.model_dump(), **changes})
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None

    def environ(self) -> dict[str, str]:
        """These settings, secrets in clear, as the environment of a child process that shall read no `.env`."""
        values = {ENV_FILE_VARIABLE: ""}
        for name, value in self.model_dump().items():
            clear = value.get_secret_value() if isinstance(value, SecretStr) else value
            # Empty counts as unset, and hides what the child would inherit.
            values[name.upper()] = "" if clear is None else str(clear)
        return values


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        name = str(problem["loc"][0])
        secret = "SecretStr" in str(Settings.model_fields[name].annotation)
        seen = "a secret value" if secret else repr(problem["input"])
        lines.append(f"{name.upper()}: {problem['msg'].removeprefix('Value error, ')} (seen: {seen})")
    return "wrong settings (environment or .env, see .env.example):\n  " + "\n  ".join(lines)

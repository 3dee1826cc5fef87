"""Settings: one frozen object, wrong values named, secrets masked, whole when handed to a child."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.api_keys import Scope
from infra.settings import Settings
from schemas.errors import SettingsError

ROOT = Path(__file__).parents[2]
NO_FILE = {"DATAFLOW_ENV_FILE": ""}


def load(**environ: str) -> Settings:
    return Settings.load(NO_FILE | environ)


def test_nothing_set_means_embedded_and_demo() -> None:
    settings = load()
    assert settings.dataflow_env == "demo"
    assert settings.kafka_bootstrap_servers is settings.kafka_schema_registry is settings.redis_host is None
    assert (settings.topic_prefix, settings.redis_prefix) == ("demo.", "demo:")
    assert settings.state_dir == Path.cwd() / ".dataflow" / "demo"


def test_environment_wins_over_env_file(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("REDIS_PORT=7000\nAPI_PORT=9000\nUNKNOWN_NAME=1\n")
    settings = Settings.load({"DATAFLOW_ENV_FILE": str(file), "API_PORT": "9001"})
    assert (settings.redis_port, settings.api_port) == (7000, 9001)


def test_empty_value_counts_as_not_set() -> None:
    assert load(REDIS_HOST="", KAFKA_PARTITIONS="").kafka_partitions == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATAFLOW_ENV", "Demo"),
        ("DATAFLOW_ENV", "1st"),
        ("DATAFLOW_ENV", "a.b"),
        ("DATAFLOW_ENV", "a" * 32),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost"),
        ("KAFKA_BOOTSTRAP_SERVERS", "host:99999"),
        ("KAFKA_SCHEMA_REGISTRY", "host:8081"),
        ("KAFKA_PARTITIONS", "0"),
        ("KAFKA_PARTITIONS", "four"),
        ("REDIS_PORT", "65536"),
        ("SHOP_TIMEZONE", "Mars/Olympus"),
        ("SHOP_TIMEZONE", "../etc/passwd"),
        ("SHOP_TIMEZONE", "localtime"),
        ("SHOP_TIMEZONE", "Factory"),
        ("SHOP_CURRENCY", "dollars"),
        ("LAKE_URI", "s3://bucket/lake"),
        ("LAKE_URI", "file:///lake"),
        ("LIVE_MODE", "fast"),
        ("LIVE_TRIGGER_SECONDS", "0"),
        ("MAX_EVENT_BYTES", "2000000"),
        ("API_RATE_LIMIT", "fast"),
        ("API_RATE_LIMIT", "0/second"),
        ("DATAFLOW_API_KEYS", "dashboard"),
        ("DATAFLOW_API_KEYS", "dashboard:short:read"),
        ("DATAFLOW_API_KEYS", "dashboard:long-enough:everything"),
        ("DATAFLOW_API_KEYS", "same:long-enough:read,same:other-secret:read"),
    ],
)
def test_wrong_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(**{name: value})


def test_the_lake_lies_in_a_directory_that_all_processes_find() -> None:
    assert load(LAKE_URI="lake").lake_uri == Path.cwd() / "lake"
    with pytest.raises(SettingsError, match="an object store is not supported"):
        load(LAKE_URI="s3://bucket/lake")


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"(?s)API_PORT.*REDIS_PORT|REDIS_PORT.*API_PORT"):
        load(API_PORT="x", REDIS_PORT="y")


def test_secrets_show_neither_in_print_nor_in_errors() -> None:
    settings = load(REDIS_PASSWORD="hush-hush-1", DATAFLOW_API_KEYS="app:hush-hush-2:read+write")
    assert "hush" not in f"{settings!r} {settings} {settings.api_keys}"
    with pytest.raises(SettingsError) as caught:
        load(DATAFLOW_API_KEYS="app:hush-hush-3:nonsense")
    assert "hush" not in str(caught.value)


def test_api_keys_are_values_with_scopes() -> None:
    reader, boss = load(DATAFLOW_API_KEYS="r:se:cret:123:read,boss:topsecret:admin").api_keys
    assert (reader.name, reader.secret) == ("r", "se:cret:123")
    assert reader.allows(Scope.READ)
    assert not reader.allows(Scope.WRITE)
    assert boss.allows(Scope.WRITE)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load().api_port = 1


def test_a_child_that_gets_the_environment_has_the_same_settings() -> None:
    settings = load(
        REDIS_PASSWORD="p,a=s s'w", DATAFLOW_API_KEYS="r:12345678:read", KAFKA_BOOTSTRAP_SERVERS="a:1, b:2"
    )
    assert Settings.load(settings.environ()) == settings
    assert settings.kafka_bootstrap_servers == "a:1,b:2"


def test_a_child_does_not_inherit_what_its_parent_has_not_set() -> None:
    assert Settings.load({"REDIS_HOST": "elsewhere"} | load().environ()).redis_host is None


def test_replace_checks_values() -> None:
    assert load().replace(dataflow_env="other").topic_prefix == "other."
    with pytest.raises(SettingsError, match="DATAFLOW_ENV"):
        load().replace(dataflow_env="NOT GOOD")


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_api_open_to_others_needs_keys(host: str, loopback: bool) -> None:
    settings = load(API_HOST=host)
    assert settings.api_is_loopback is loopback
    if loopback:
        settings.check_api_exposure()
    else:
        with pytest.raises(SettingsError, match="DATAFLOW_API_KEYS"):
            settings.check_api_exposure()
        load(API_HOST=host, DATAFLOW_API_KEYS="r:12345678:read").check_api_exposure()


def test_empty_home_is_not_the_root_of_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "")
    assert load(DATAFLOW_HOME=str(tmp_path)).cache_dir == tmp_path / ".cache"


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text()
    documented = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))
    # Between supervisor and child.
    names = {name.upper() for name in Settings.model_fields if not name.startswith("dataflow_tree")}
    names -= {"DATAFLOW_STATUS_FILE"}
    assert names <= documented.keys()
    for name in names - {"DATAFLOW_API_KEYS", "DATAFLOW_HOME", "XDG_CACHE_HOME"}:
        default = Settings.model_fields[name.lower()].default
        assert documented[name] == ("" if default is None else str(default)), name

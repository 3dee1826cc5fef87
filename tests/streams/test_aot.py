"""What is prepared for Spark's start is taken where it fits, and nothing else changes."""

import subprocess
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.setup import find_java
from streams import aot
from streams.aot import OPTIONS, place, use


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, xdg_cache_home=tmp_path)


def test_each_java_and_its_options_have_a_place_of_their_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = place(settings, OPTIONS)
    assert found is not None
    assert found.is_relative_to(settings.cache_dir)
    assert place(settings, OPTIONS) == found
    assert place(settings, OPTIONS + " -Xmx2g") != found
    monkeypatch.setattr(aot.pyspark, "__version__", "9.9.9")
    assert place(settings, OPTIONS) != found


def test_a_java_that_is_too_old_prepares_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aot, "OLDEST", 99)
    assert place(settings, OPTIONS) is None
    assert use(settings, OPTIONS) == ""
    assert aot.prepare(settings) is None


def test_a_jvm_starts_also_where_nothing_is_prepared_or_it_is_broken(settings: Settings) -> None:
    assert use(settings, OPTIONS) == ""
    found = place(settings, OPTIONS)
    found.parent.mkdir(parents=True)
    found.write_bytes(b"no cache")
    options = use(settings, OPTIONS).split()
    assert options[0] == f"-XX:AOTCache={found}"
    java = find_java(None).program
    done = subprocess.run([java, *options, "-version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""

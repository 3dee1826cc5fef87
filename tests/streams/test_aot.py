"""What is prepared for Spark's start is taken where it fits, and nothing else changes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.code import ROOT
from infra.settings import Settings
from infra.setup import find_java, spark_java_home
from streams import aot
from streams.aot import OPTIONS, place, use

# Fails where the JVM cannot take the cache.
TAKEN = """
from infra.settings import Settings
from streams.aot import OPTIONS, use
from streams.spark import end, session
settings = Settings(_env_file=None)
spark = session(settings, "tests", 2, {}, aot=use(settings, OPTIONS) + " -XX:AOTMode=on")
print(spark.range(3).count())
end(spark)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, xdg_cache_home=tmp_path / "a cache")


def test_each_java_and_its_options_have_a_place_of_their_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = place(settings, OPTIONS)
    assert found is not None
    assert found.is_relative_to(settings.cache_dir)
    assert place(settings, OPTIONS) == found
    assert place(settings, OPTIONS + " -Xmx2g") != found
    (tmp_path / "pyspark" / "jars").mkdir(parents=True)
    monkeypatch.setattr(aot.pyspark, "__file__", str(tmp_path / "pyspark" / "__init__.py"))
    other = place(settings, OPTIONS)
    assert other != found
    (tmp_path / "pyspark" / "jars" / "more.jar").touch()
    assert place(settings, OPTIONS) != other


def test_a_java_that_is_too_old_prepares_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aot, "OLDEST", 99)
    assert place(settings, OPTIONS) is None
    assert use(settings, OPTIONS) == ""


def test_a_jvm_starts_also_where_nothing_is_prepared_or_it_is_broken(settings: Settings) -> None:
    assert use(settings, OPTIONS) == ""
    found = place(settings, OPTIONS)
    found.parent.mkdir(parents=True)
    found.write_bytes(b"no cache")
    options = use(settings, OPTIONS)
    assert options.startswith(f'"-XX:AOTCache={found}"')
    line = [find_java(None).program, f"-XX:AOTCache={found}", *options.rpartition('"')[2].split(), "-version"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_what_setup_has_prepared_is_taken() -> None:
    settings = Settings(_env_file=None)
    if not use(settings, OPTIONS):
        pytest.skip("nothing is prepared: `make setup` does it, with Java 25")
    java_home = spark_java_home(find_java(settings.java_home), settings.cache_dir)
    env = {**os.environ, "JAVA_HOME": str(java_home), "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run([sys.executable, "-c", TAKEN], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split()[-1:] == ["3"], done.stdout + done.stderr

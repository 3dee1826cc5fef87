"""A built wheel has every file of the packages that is in the repository: what is read beside the code, too."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def test_no_file_of_a_package_is_left_behind() -> None:
    packages = [pattern.rstrip("*") for pattern in SETUPTOOLS["packages"]["find"]["include"]]
    patterns = [*SETUPTOOLS["package-data"]["*"], "*.py", "*.pyc"]
    files = [path for package in packages for path in (ROOT / package).rglob("*") if path.is_file()]
    assert ROOT / "infra" / "setup" / "venv.sh" in files
    assert [path for path in files if not any(fnmatch(path.name, each) for each in patterns)] == []

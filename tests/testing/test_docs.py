"""docs/testing.md does what it says: the files that stand there are a suite that passes."""

import re
import shutil
from pathlib import Path

import pytest

from dataflow.testing import Services
from tests.testing.test_plugin import ROOT, python, run

PAGE = (ROOT / "docs" / "testing.md").read_text("utf-8")
FILES = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def test_the_first_test_of_the_page_passes(tmp_path: Path, addresses: dict[str, str]) -> None:
    shutil.copytree(ROOT / "examples" / "returns", tmp_path / "returns")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    status, said = run(tmp_path, **addresses)
    assert status == 0, said
    assert "3 passed" in said


@pytest.mark.cases(0)
def test_what_it_says_of_doing_without_pytest_works(
    tmp_path: Path, addresses: dict[str, str], dataflow_services: Services
) -> None:
    text = FILES["without_pytest.py"]
    given = ", ".join(repr(address) for address in addresses.values())
    # On this run's services, which saves their start.
    text = text.replace("running_services(Path(home))", f"running_services(Path(home), Addresses({given}))")
    (tmp_path / "it.py").write_text(text.replace("import ABORT,", "import ABORT, Addresses,"))
    done = python(tmp_path, "it.py")
    assert done.returncode == 0, done.stderr
    assert "'gross': '12.00'" in done.stdout
    assert "'gross': '129.90'" in done.stdout

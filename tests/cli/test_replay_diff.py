"""`dataflow replay diff` refuses what it cannot mean. What it tells: tests/replay/test_diff_run.py."""

import pytest

from dataflow.main import USAGE
from tests.cli.kit import Shell


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gx",), "a generation such as g2"),
        (("--day", "yesterday"), "a day such as 2026-03-01"),
        (("--day", "2026-03-02..2026-03-01"), "not behind the last one"),
        (("--json", "--html", "x.html"), "--json or --html, saw both"),
        (("--examples", "-1"), "--examples"),
        (("--patience", "-1"), "--patience"),
    ],
)
def test_wrong_usage_is_told(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    assert shell.run("replay", "diff", *arguments) == USAGE
    assert said in shell.err

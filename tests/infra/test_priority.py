"""A process that lets others go first does so also where Linux groups processes by session."""

import subprocess
import sys

import pytest

from infra.priority import AUTOGROUP

PROGRAM = """
import os
from pathlib import Path
from infra.priority import lower
lower(7)
print(os.nice(0))
group = Path("/proc/self/autogroup")
print(group.read_text().split()[-1] if group.exists() else "none")
"""


def test_niceness_and_the_session_are_lowered():
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM], start_new_session=True, capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(out[0]) >= 7
    if not AUTOGROUP.exists():
        pytest.skip("this system does not group processes by session")
    assert out[1] == "7"

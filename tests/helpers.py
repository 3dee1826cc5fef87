"""Small tools of many tests: settings that depend on nothing around them, and waiting without sleeping for luck."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from infra.settings import Settings

T = TypeVar("T")


def isolated_settings(home: Path, **changes: object) -> Settings:
    """Settings without the shell and `.env`, the state under `home`; the jars come from the user's cache."""
    kept = {name: os.environ[name] for name in ("JAVA_HOME", "XDG_CACHE_HOME") if name in os.environ}
    values = {"dataflow_env": "test", "dataflow_home": home, **changes}
    return Settings.load({"DATAFLOW_ENV_FILE": "", **kept}, **values)


def wait_for(condition: Callable[[], T], timeout: float = 20.0, what: str = "the condition") -> T:
    """Poll until `condition` returns something true, which is returned; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    pytest.fail(f"{what} did not come about within {timeout:.0f} s")

"""The status file by which a job tells its supervisor that it runs, and `dataflow status` what it does."""

import json
import os
import time
from pathlib import Path
from typing import Any


def write_status(path: Path | None, state: str, **details: Any) -> None:
    """Write `state` and details with this process's number, atomically; nothing if no file is asked for."""
    if path is None:
        return
    scratch = path.with_suffix(".new")
    scratch.write_text(
        json.dumps({"state": state, "pid": os.getpid(), "at": time.time(), **details}), "utf-8"
    )
    scratch.replace(path)

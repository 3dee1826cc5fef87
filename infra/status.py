"""The status file by which a job tells its supervisor that it runs, and `dataflow status` what it does."""

import json
import time
from pathlib import Path
from typing import Any


def write_status(path: Path | None, state: str, **details: Any) -> None:
    """Write `state` and details, atomically; nothing if no file is asked for."""
    if path is None:
        return
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps({"state": state, "at": time.time(), **details}), "utf-8")
    scratch.replace(path)

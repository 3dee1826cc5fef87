"""The `dataflow` command beside the interpreter of the environment: `.venv/bin/dataflow`.

A launcher instead of an editable install: that would need a build backend, which is in no environment by default, and
the network to get it. It is written only into a virtual environment.
"""

import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def write_launcher() -> Path | None:
    """Write the launcher; returns its path, or None outside a virtual environment."""
    if sys.prefix == sys.base_prefix:
        return None
    target = Path(sys.prefix) / "bin" / "dataflow"
    script = (
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        "export PYTHONPATH\n"
        f'exec {shlex.quote(sys.executable)} -m dataflow "$@"\n'
    )
    if not target.is_file() or target.read_text() != script:
        target.write_text(script)
        target.chmod(0o755)
    return target

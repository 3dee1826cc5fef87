"""`replay.diff.extract` as a process, in the environment that has a generation's own code.

It dies with the process that started it.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.code import environment
from infra.generations import Generations
from infra.runtime.child import Child, Watchdog
from infra.runtime.platform import ROOT
from infra.runtime.share import set_session_niceness
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from replay.diff.errors import NotExtracted
from replay.diff.extract import NICENESS
from streams.lake.manifest import Manifest

POLL_SECONDS = 0.05
TOLD = 2_000  # characters of what it said last

EnvironmentOf = Callable[[int], Mapping[str, str]]


def own_code(settings: Settings, now: Generations) -> EnvironmentOf:
    """Each generation's own code; this process's where none is recorded."""

    def environment_of(number: int) -> Mapping[str, str]:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        bound = settings.replace(dataflow_generation=number).environ()
        code = now.of(number).code
        pinned = environment(settings, code["digest"], code["declared"]) if code else {}
        return {**os.environ, **bound, "PYTHONPATH": path, **pinned}

    return environment_of


def extract(
    manifest: Manifest, environment: Mapping[str, str], home: Path, names: Sequence[str], watchdog: Watchdog
) -> Path:
    """Have a generation's lake written out at a manifest; returns the directory. `names` are further arguments.

    Raises NotExtracted with what the process said.
    """
    out, log = home / manifest.generation, home / f"{manifest.generation}.log"
    out.mkdir()
    command = (
        sys.executable,
        "-m",
        "replay.diff.extract",
        "--manifest",
        str(manifest.number),
        "--out",
        str(out),
    )
    # Python looks for modules where it is started first, and there the code of another generation might lie.
    spec = ProcessSpec(f"extract {manifest.generation}", (*command, *names), environment, cwd=out)
    child = Child(spec, environment, log, watchdog)
    gives_way = False
    try:
        while (status := child.poll()) is None:
            gives_way = gives_way or set_session_niceness(child.pid, NICENESS)
            time.sleep(POLL_SECONDS)
    finally:
        if child.poll() is None:
            child.kill()
        child.forget()
    if status:
        said = log.read_text("utf-8", "replace")[-TOLD:].partition("\n")[2].strip()
        raise NotExtracted(
            f"expected the code of {manifest.generation} to write out its lake at manifest {manifest.number}; it ended "
            f"with {status} and said: {said or 'nothing'}"
        )
    return out

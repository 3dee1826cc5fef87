"""Directories for what a comparison or a verifier needs for a while: removed with all in them, whatever happens.

They hold rows as they are, personal data too: nobody else may read them, and what a killed process left is removed by
the next one.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from infra.settings import Settings

LOCK = "lock"


@contextmanager
def scratch(settings: Settings, what: str) -> Iterator[Path]:
    """An empty directory below `{state_dir}/{what}`."""
    place = settings.state_dir / what
    place.mkdir(parents=True, exist_ok=True)
    with (place / LOCK).open("w") as door:
        # One at a time: a directory that has no lock yet would look as if it were left.
        fcntl.flock(door, fcntl.LOCK_EX)
        for left in place.iterdir():
            if left.is_dir() and not _is_held(left):
                shutil.rmtree(left, ignore_errors=True)
        home = Path(tempfile.mkdtemp(dir=place))
        held = _hold(home)
    try:
        with held:
            work = home / "work"
            work.mkdir()
            yield work
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _hold(home: Path) -> IO[str]:
    held = (home / LOCK).open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def _is_held(home: Path) -> bool:
    try:
        with (home / LOCK).open() as found:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False

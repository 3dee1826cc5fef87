"""Run by tests: `python -m tests.chaos.hold HOME [PROCESS …]` holds a whole platform until it is killed."""

import signal
import sys
from pathlib import Path

from infra.runtime.platform import LIVE, Platform
from infra.settings import Settings
from tests.helpers import isolated_settings


def settings_at(home: Path) -> Settings:
    """The same each time, so that a start goes on where the one before was killed."""
    return isolated_settings(home, live_trigger_seconds=5)


def main() -> None:
    """Say `ready` and wait."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Platform(settings_at(Path(sys.argv[1])), sys.argv[2:] or LIVE, preferred_ports=False):
        print("ready", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()

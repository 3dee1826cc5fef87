"""Run by tests: `python -m tests.infra.hold_platform HOME` holds a small platform until it is killed.

Valkey stands for a service, and a "demo" with a child of its own for the live job, whose JVM is a grandchild.
"""

import signal
import sys
from pathlib import Path

from infra.runtime.platform import Platform
from tests.helpers import isolated_settings

# Two processes that stay, and no other: one that comes and goes would be counted now and then.
WITH_GRANDCHILD = ("sh", "-c", "sleep 600 & wait")


def main() -> None:
    """Say `ready` and wait."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = isolated_settings(Path(sys.argv[1]))
    with Platform(settings, ("valkey",), demo=WITH_GRANDCHILD, preferred_ports=False):
        print("ready", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()

"""`python -m replay.verify`: the continuous verifier as a process."""

import logging
import os
import sys

from infra.entry import run_process
from infra.settings import Settings
from replay.verify.rounds import run
from streams.stop import StopRequest

# Everything that makes numbers goes before what checks them.
NICENESS = 15


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    stop = StopRequest()
    stop.listen()
    settings = Settings.load()
    os.nice(NICENESS)
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stdout,
    )
    run(settings, stop)


if __name__ == "__main__":
    sys.exit(run_process(main))

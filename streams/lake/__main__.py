"""`python -m streams.lake`: the lake job as a process."""

import logging
import os
import sys

from infra.entry import NO_ROOM, run_process
from infra.settings import Settings
from streams.lake.halfway import AGAIN, Unfinished
from streams.lake.job import LakeJob
from streams.stop import StopRequest

# The live path goes first where both want the processor.
NICENESS = 10


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
    for chatty in ("py4j", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        with LakeJob(settings, stop) as job:
            job.run()
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise Unfinished(f"could not write below {settings.state_dir}: {error}. {AGAIN}") from error


if __name__ == "__main__":
    sys.exit(run_process(main))

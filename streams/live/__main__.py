"""`python -m streams.live`: the live job as a process."""

import logging
import sys

from infra.entry import run_process
from infra.settings import Settings
from streams.live.job import LiveJob
from streams.live.lake_first import wait_for_lake
from streams.stop import StopRequest


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    stop = StopRequest()
    stop.listen()
    settings = Settings.load()
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stdout,
    )
    for chatty in ("py4j", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if wait_for_lake(settings, stop):
        with LiveJob(settings, stop) as job:
            job.run()


if __name__ == "__main__":
    sys.exit(run_process(main))

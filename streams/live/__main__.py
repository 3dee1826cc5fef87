"""`python -m streams.live`: the live job as a process."""

import logging
import sys

from infra.entry import NO_ROOM, run_process
from infra.settings import Settings
from schemas.errors import Unavailable
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
        try:
            with LiveJob(settings, stop) as job:
                job.run()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise Unavailable(
                f"expected room for checkpoints below {settings.state_dir}, and there is none: {error}. It goes on by "
                "itself when there is"
            ) from error


if __name__ == "__main__":
    sys.exit(run_process(main))

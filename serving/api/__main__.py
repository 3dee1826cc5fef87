"""`python -m serving.api`: the API as a process."""

import logging
import signal
import sys

from infra.entry import run_process
from infra.settings import Settings
from schemas.errors import SettingsError
from serving.api.app import create_app
from serving.api.server import server_of

ADDRESSES = ("kafka_bootstrap_servers", "kafka_schema_registry", "redis_host")


def main() -> None:
    """Serve until the process is told to stop."""
    settings = Settings.load()
    settings.check_api_exposure()
    missing = [name.upper() for name in ADDRESSES if getattr(settings, name) is None]
    if missing:
        raise SettingsError(
            f"expected the addresses of the services; {', '.join(missing)} not set: set them, or let `dataflow up` "
            "start everything"
        )
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # uvicorn raises the signal again once it has ended all in good order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server_of(create_app(settings), settings).run()


if __name__ == "__main__":
    sys.exit(run_process(main))

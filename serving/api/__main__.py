"""`python -m serving.api`: the API as a process."""

import logging
import signal
import sys

from infra.entry import run_process
from infra.settings import Settings
from schemas.errors import SettingsError
from serving.api.app import create_app
from serving.api.process import SPARE_FILES, raise_file_limit, settle_collector
from serving.api.server import server_of

log = logging.getLogger("dataflow.api")

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
    server = server_of(create_app(with_room(settings)), settings)
    settle_collector()
    server.run()


def with_room(settings: Settings) -> Settings:
    """As many push clients as the system allows files for, if that is fewer than are set."""
    wanted = settings.api_max_live_clients + SPARE_FILES
    allowed = raise_file_limit(wanted)
    if allowed == wanted:
        return settings
    most = max(1, allowed - SPARE_FILES)
    log.warning(
        "API_MAX_LIVE_CLIENTS=%d needs %d open files; this system allows %d (ulimit -Hn): at most %d are pushed to",
        settings.api_max_live_clients,
        wanted,
        allowed,
        most,
    )
    return settings.replace(api_max_live_clients=most)


if __name__ == "__main__":
    sys.exit(run_process(main))

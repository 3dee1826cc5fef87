"""`python -m dataflow.testing`: the services that tests run on, kept running between the runs of a test suite.

Prints what to put into the environment of the shell in which the tests are run; Ctrl-C stops everything.
"""

import signal
import sys
import tempfile
import threading
from pathlib import Path

from dataflow.testing.services import VARIABLES, running_services
from infra.entry import run_process


def main() -> None:
    """Until SIGINT or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    print("starting Kafka, the registry and Valkey …", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="dataflow-testing-") as home,
        running_services(Path(home)) as services,
    ):
        settings = services.settings
        addresses = {
            "kafka": settings.kafka_bootstrap_servers,
            "registry": settings.kafka_schema_registry,
            "redis": f"{settings.redis_host}:{settings.redis_port}",
        }
        for name, address in addresses.items():
            print(f"export {VARIABLES[name]}={address}", flush=True)
        print("they run; Ctrl-C stops them", file=sys.stderr, flush=True)
        ended.wait()


if __name__ == "__main__":
    sys.exit(run_process(main))

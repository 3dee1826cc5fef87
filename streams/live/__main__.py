"""`python -m streams.live`: the live job as a process."""

import sys

from infra.entry import run_process
from infra.settings import Settings
from streams.live.job import LiveJob

if __name__ == "__main__":
    sys.exit(run_process(lambda: LiveJob(Settings.load()).run()))

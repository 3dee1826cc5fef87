"""`python -m serving.materializer`: the materializer as a process."""

import signal
import sys

from infra.entry import run_process
from infra.settings import Settings
from serving.materializer.materializer import Materializer

if __name__ == "__main__":
    # Nothing needs to be put in order: the fences are always right.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(run_process(lambda: Materializer(Settings.load()).run()))

"""`python -m serving.materializer`: the materializer as a process."""

import gc
import signal
import sys

from infra.entry import run_process
from infra.settings import Settings
from serving.materializer.materializer import Materializer

if __name__ == "__main__":
    # Hundreds of thousands of remembered states make no cycles, and looking through them for some costs a tenth of
    # what folding does.
    gc.set_threshold(50_000, 50, 100)
    # Nothing needs to be put in order: the fences are always right.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(run_process(lambda: Materializer(Settings.load()).run()))

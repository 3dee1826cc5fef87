"""`python -m tests.e2e.busy_lake`: the lake job as it is, but for upkeep, which finds something to do all the time."""

import sys

from infra.entry import run_process
from streams.lake import upkeep
from streams.lake.__main__ import main

upkeep.EVERY_BATCHES, upkeep.SMALL_FILES, upkeep.FOLD_FROM_ROWS = 2, 4, 50

if __name__ == "__main__":
    sys.exit(run_process(main))

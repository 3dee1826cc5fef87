"""`python -m tests.streams.lake.cloned HOME`: begins the lake of g2 in HOME as that of g1, all that can be made anew.

DATAFLOW_FAILPOINT says where it is killed.
"""

import os
import sys
from pathlib import Path

from infra.failpoints import Failpoints
from infra.generations import Clone, Generation
from streams.lake.clone import begin_as_clone
from streams.lake.parts import DERIVED
from tests.helpers import isolated_settings

ALL_ANEW = Generation(2, {}, clone=Clone(1, DERIVED))


def begin(home: Path, generation: Generation = ALL_ANEW, failpoint: str | None = None) -> None:
    settings = isolated_settings(home, dataflow_failpoint=failpoint)
    begin_as_clone(settings, generation, Failpoints(settings))


if __name__ == "__main__":
    begin(Path(sys.argv[1]), failpoint=os.environ.get("DATAFLOW_FAILPOINT") or None)

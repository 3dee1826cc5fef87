"""A command goes on by the code of the generation that it is about, where the code that is here would say otherwise.

Whoever has edited a metric still verifies, reads and re-drives the live generation by the declarations that it was made
by. Reads the log of generations.
"""

import os
import sys

from infra.code import changed, declared, environment
from infra.generations import read_generations
from infra.settings import Settings

RUNS_BY = "DATAFLOW_RUNS_BY"  # which copy of the code a command was started again by


def by_the_code_of(settings: Settings, number: int | None = None) -> None:
    """Start this command again by the code of generation `number` (default: the live one), unless it runs by it.

    Raises GenerationError if there is no such generation, or its code is not here.
    """
    now = read_generations(settings)
    number = now.live if number is None else number
    recorded = None if number is None else now.of(number).code
    if recorded is None or os.environ.get(RUNS_BY) == recorded["digest"]:
        return
    if not changed(recorded["declared"], declared(settings)):
        return
    found = environment(settings, recorded["digest"], recorded["declared"])
    environ = {**os.environ, **found, RUNS_BY: recorded["digest"]}
    os.execve(sys.executable, [sys.executable, "-m", "dataflow", *sys.argv[1:]], environ)

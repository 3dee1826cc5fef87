"""A command goes on by the code of the generation that it is about, where the code that is here would say otherwise.

Whoever has edited a metric still verifies, reads and re-drives the live generation by the declarations that it was made
by. Reads the log of generations.
"""

import os
import sys

import click

from infra.code import changed, declared, environment
from infra.generations import read_generations
from infra.settings import Settings
from schemas.errors import DataflowError

RUNS_BY = "DATAFLOW_RUNS_BY"  # which copy of the code a command was started again by


def by_the_code_of(settings: Settings, number: int | None = None, *, surely: bool = True) -> None:
    """Start this command again by the code of generation `number` (default: the live one), unless it runs by it.

    Raises GenerationError if there is no such generation, or its code is not here. Where it need not be `surely` so,
    that is told instead, and the command goes on by the code that is here.
    """
    try:
        environ = _environment_of(settings, number)
    except DataflowError as error:
        if surely:
            raise
        click.echo(f"by the code that is here, since what it was made by is not known: {error}", err=True)
        return
    if environ is not None:
        os.execve(sys.executable, [sys.executable, "-m", "dataflow", *sys.argv[1:]], environ)


def _environment_of(settings: Settings, number: int | None) -> dict[str, str] | None:
    """None if this command runs by it, or would not say otherwise."""
    now = read_generations(settings)
    number = now.live if number is None else number
    recorded = None if number is None else now.of(number).code
    if recorded is None or os.environ.get(RUNS_BY) == recorded["digest"]:
        return None
    if not changed(recorded["declared"], declared(settings)):
        return None
    found = environment(settings, recorded["digest"], recorded["declared"])
    # Not what is in the directory where it was typed, nor in a `.env` there.
    apart = {"PYTHONSAFEPATH": "1", RUNS_BY: recorded["digest"]}
    return {**os.environ, **settings.environ(), **found, **apart}

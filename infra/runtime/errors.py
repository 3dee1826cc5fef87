"""Errors of the local runtime."""

from schemas.errors import DataflowError, Terminal


class AlreadyRunning(DataflowError, Terminal):
    """Another supervisor runs this environment; the message says which. Use it, or stop it first."""


class NotRunning(DataflowError, Terminal):
    """The environment's embedded services do not run: start them with `dataflow up`."""


class SupervisionEnded(DataflowError, Terminal):
    """The supervisor broke, and all processes were stopped; supervisor.log has the traceback."""


class StartFailed(DataflowError, Terminal):
    """A process did not become ready; the message ends with the last lines of its log."""

"""What replays raise. Whatever can be known is known before anything is started."""

from schemas.errors import DataflowError, Terminal


class ReplayError(DataflowError, Terminal):
    """What was asked for cannot be planned, run, promoted or removed; the message says why, and what to do."""

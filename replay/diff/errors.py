"""Why two generations cannot be compared; each message says what to do."""

from schemas.errors import DataflowError, Terminal, Transient


class NotComparable(DataflowError, Terminal):
    """What was asked for cannot be compared: a generation stands still, has no lake, or there is no such table."""


class NotExtracted(DataflowError, Terminal):
    """A generation's own code could not write out what its lake holds."""


class NoCommonOffsets(DataflowError, Transient):
    """The two lakes did not come to the same offsets in time."""


class Behind(NoCommonOffsets):
    """One of the two lakes is too far behind."""

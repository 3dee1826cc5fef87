"""How long records have waited with nothing counted, on a clock that only grows.

The age of the newest counted record is by the wall's. After that was set back, a record seems to come from the future,
and what has stood still for an hour would have no age.
"""


class Waiting:
    """Remembers from one look at the live state to the next; between them it sees nothing."""

    def __init__(self) -> None:
        self._position = -1
        self._since: float | None = None

    def seconds(self, position: int, behind: int, now: float) -> float:
        """For how long it has been seen at `position` with records `behind` it; 0 where none wait."""
        if not behind:
            self._since = None
        elif self._since is None or position != self._position:
            self._since = now
        self._position = position
        return 0.0 if self._since is None else now - self._since

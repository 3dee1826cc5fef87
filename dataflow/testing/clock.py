"""Time and identity, handed in: a clock that only a test moves, and ids that are the same in every run. Pure."""

import uuid
from datetime import UTC, datetime, timedelta

from schemas.times import parse_rfc3339
from schemas.validate import micros

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Clock:
    """Stands still until it is moved. Event times come from it; what the broker stamps is the broker's own.

    The time machine's broker keeps its time, and a history that goes on moves it.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = aware(start)

    def now(self) -> datetime:
        return self._now

    def micros(self) -> int:
        """Now, in µs since 1970."""
        return micros(self._now)

    def advance(self, **by: float) -> datetime:
        """Move on by `seconds=`, `minutes=`, `hours=`, `days=` and whatever else a timedelta takes; returns now."""
        self._now += timedelta(**by)
        return self._now

    def set(self, to: datetime | str) -> datetime:
        """Move to a time, forth or back; text as in RFC 3339."""
        self._now = parse_rfc3339(to) if isinstance(to, str) else aware(to)
        return self._now

    def __repr__(self) -> str:
        return f"Clock({self._now.isoformat()})"


class Ids:
    """UUIDs in a fixed order: `ids()` is the next one, `ids("alice")` always the same one. `seed` makes other ones."""

    def __init__(self, seed: str = "dataflow.testing") -> None:
        self._space = uuid.uuid5(uuid.NAMESPACE_URL, seed)
        self._given = 0

    def __call__(self, name: str | None = None) -> str:
        if name is None:
            self._given += 1
            return str(uuid.uuid5(self._space, f"#{self._given}"))
        return str(uuid.uuid5(self._space, name))


def aware(time: datetime) -> datetime:
    """In UTC. ValueError for a time without a zone."""
    if time.tzinfo is None:
        raise ValueError(
            f"expected a time with a time zone, such as {START.isoformat()}, saw {time.isoformat()}"
        )
    return time.astimezone(UTC)

"""The day of a time in a time zone, as an SQL expression. Pure.

DuckDB's wheel has no time zones. So the moments at which the zone's shift to UTC changes are looked up here, and the
expression finds the shift of a time among them, by halving.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

# Contracts take no time before it; what comes after the last has its shift.
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
STEP = timedelta(days=1)

Shifts = tuple[tuple[datetime, timedelta], ...]


def day_of(column: str, time_zone: str) -> str:
    """`column` is an SQL expression of a time in UTC, without a zone."""
    return _halved(column, shifts(time_zone))


@cache
def shifts(time_zone: str) -> Shifts:
    """Since when (UTC) the zone's clocks have been so much ahead; the first since ever."""
    zone = ZoneInfo(time_zone)
    at, shift = FIRST, _shift(FIRST, zone)
    found = [(at, shift)]
    while at < LAST:
        if (after := _shift(at + STEP, zone)) != shift:
            low, high = at, at + STEP
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
                low, high = (middle, high) if _shift(middle, zone) == shift else (low, middle)
            found.append((high, after))
            shift = after
        at += STEP
    return tuple(found)


def _shift(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset()


def _halved(column: str, among: Shifts) -> str:
    if len(among) == 1:
        seconds = among[0][1] // timedelta(seconds=1)
        return f"({column} + INTERVAL '{seconds} seconds')::DATE" if seconds else f"{column}::DATE"
    middle = len(among) // 2
    since = among[middle][0].strftime("%Y-%m-%d %H:%M:%S")
    before, after = _halved(column, among[:middle]), _halved(column, among[middle:])
    return f"CASE WHEN {column} < TIMESTAMP '{since}' THEN {before} ELSE {after} END"

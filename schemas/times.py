"""Times as text: RFC 3339 to an aware datetime, strictly. Pure."""

import re
from datetime import UTC, datetime

RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
MICROSECOND_DIGITS = 6


def parse_rfc3339(text: str) -> datetime:
    """The time as UTC. Raises ValueError that says what was expected; it never repeats the text."""
    found = RFC3339.fullmatch(text)
    if not found:
        raise ValueError("expected a time as in RFC 3339, such as 2026-05-17T09:30:00Z")
    date, clock, fraction, zone = found.groups()
    if zone is None:
        raise ValueError("expected a time zone at the end, Z or an offset such as +02:00")
    digits = (fraction or "").rstrip("0")
    if len(digits) > MICROSECOND_DIGITS:
        raise ValueError("expected at most 6 digits of a second: times are kept in microseconds")
    zone = "+00:00" if zone in "Zz" else zone
    try:
        return datetime.fromisoformat(f"{date}T{clock}.{digits:0<6}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a day and a time of day that exist") from None

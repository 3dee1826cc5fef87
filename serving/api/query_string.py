"""The values of a query string, each checked and read: what is wrong is refused, naming the parameter. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from schemas.times import parse_rfc3339
from schemas.validate import micros
from serving.api.problems import Problem, bad_query

YEARS = range(1971, 2200)

Parameters = Mapping[str, list[str]]


def named(pairs: Iterable[tuple[str, str]], allowed: Sequence[str]) -> Parameters:
    """The values of each parameter. Raises Problem for one that is none of `allowed`."""
    given: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        if name not in allowed:
            raise wrong(shown(name), f"expected one of {', '.join(allowed)}")
        given[name].append(value)
    return given


def one(given: Parameters, name: str) -> str | None:
    values = given.get(name)
    if not values:
        return None
    if len(values) > 1:
        raise wrong(name, f"expected it once; saw it {len(values)} times")
    return values[0]


def whole_number(given: Parameters, name: str, default: int, most: int, least: int = 1) -> int:
    text = one(given, name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not least <= int(text) <= most:
        raise wrong(name, f"expected a whole number from {least} to {most:,}; saw {shown(text)}")
    return int(text)


def moment(given: Parameters, name: str, zone: ZoneInfo) -> int | None:
    """µs since 1970 of a time, or of the start of a day in the shop's time zone."""
    text = one(given, name)
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            day = date.fromisoformat(text)
            at = datetime(day.year, day.month, day.day, tzinfo=zone)
        else:
            # A + of a time zone arrives as a space from who forgot to encode it.
            at = parse_rfc3339(re.sub(r" (?=\d\d:\d\d$)", "+", text))
        if at.year not in YEARS:
            raise ValueError
    except (ValueError, OverflowError):
        raise wrong(
            name,
            "expected a time with its zone, such as 2026-05-17T09:30:00Z, or a day, such as 2026-05-17, of the "
            f"years {YEARS.start} to {YEARS.stop - 1}; saw {shown(text)}",
        ) from None
    return micros(at)


def wrong(name: str, reason: str) -> Problem:
    return bad_query(f"{name}: {reason}", [{"parameter": name, "reason": reason}])


def shown(text: str) -> str:
    """What a client sent, short and fit to be sent back."""
    return repr(text.encode("utf-8", "replace").decode()[:60])

"""Local times to UTC: a format, an IANA zone, and a rule for the two hours a year that do not map one to one. Pure.

A gap (clocks forward: 01:30 did not exist) is refused or shifted forward by the gap; an overlap (clocks back: 01:30
was twice) is the earlier or the later moment, or refused. PEP 495 names the same two cases by `fold`.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sources.importer.errors import LineRefused, Where
from sources.importer.expression import Expression, cached, lift, require_type, shown

GAPS = ("reject", "forward")
OVERLAPS = ("earlier", "later", "reject")
KEYS = ("format", "zone", "gap", "overlap")


def time(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """`time: {format: "%d.%m.%Y %H:%M", zone: Europe/Berlin, gap: …, overlap: …}`; format `iso` is ISO 8601."""
    require_type(inner, ("string",), "time", where)
    if not isinstance(argument, dict) or not isinstance(argument.get("format"), str):
        raise where.error(
            "expected {format: …, zone: …}; format is `iso` or a strptime format such as '%Y-%m-%d %H:%M:%S'"
        )
    for key in argument:
        if key not in KEYS:
            raise where.unknown("key", key, KEYS)
    form, gap, overlap = argument["format"], argument.get("gap", "reject"), argument.get("overlap", "earlier")
    if gap not in GAPS:
        raise (where / "gap").unknown("rule", gap, GAPS)
    if overlap not in OVERLAPS:
        raise (where / "overlap").unknown("rule", overlap, OVERLAPS)
    zone = _zone(argument.get("zone"), form, where)
    parse = datetime.fromisoformat if form == "iso" else partial(_strptime, form)

    def convert(text: str) -> datetime:
        try:
            local = parse(text)
        except ValueError:
            raise _refusal("not_a_time", f"expected a time in the format {form}", text) from None
        try:
            if local.tzinfo is not None:
                return local.astimezone(UTC)
            if zone is None:
                raise _refusal("not_a_time", "the time has no offset, and the mapping gives no zone", text)
            return _utc(local, text)
        except OverflowError:
            raise _refusal("not_a_time", "expected a year from 1 to 9999", text) from None

    def _utc(local: datetime, text: str) -> datetime:
        first, second = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
        before, after = first.utcoffset(), second.utcoffset()
        if before < after and gap == "reject":
            raise _refusal(
                "time_in_gap", f"this local time does not exist in {zone.key} (clocks went forward)", text
            )
        if before > after and overlap == "reject":
            raise _refusal(
                "time_in_overlap", f"this local time was twice in {zone.key} (clocks went back)", text
            )
        return (second if before > after and overlap == "later" else first).astimezone(UTC)

    def _refusal(reason: str, detail: str, text: str) -> LineRefused:
        return LineRefused(reason, f"{where.path}: {detail}, saw {shown(inner, text)}")

    return lift(inner, "timestamp", cached(convert))


def _strptime(form: str, text: str) -> datetime:
    return datetime.strptime(text, form)  # noqa: DTZ007 - the caller knows the zone


def _zone(name: Any, form: str, where: Where) -> ZoneInfo | None:
    if name is None:
        if form != "iso" and "%z" not in form:
            raise where.error(
                "the format has no %z, so `zone` is needed: an IANA name such as Europe/London, or UTC"
            )
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise (where / "zone").error(
            f"expected an IANA time zone such as Europe/London, saw {name!r}"
        ) from error


HEADS: dict = {}
STEPS = {"time": time}

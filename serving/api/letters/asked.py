"""Which dead letters a request means: by its query string, or by the JSON body of a re-drive. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from serving.api.json_document import Malformed, json_type, parse
from serving.api.problems import bad_query
from serving.api.query_string import Parameters, moment, named, one, shown, whole_number, wrong
from serving.dead_letters import FILTERS, BadFilter, DeadLetter, Order, Wanted, parse_wanted

LIMIT, LIMIT_AT_MOST = 50, 1_000
BODY: Mapping[str, type] = {
    **dict.fromkeys(("topic", "reason", "since", "until", "offsets"), str),
    "partition": int,
    "all": bool,
    "dry_run": bool,
    "counted": int,
}
NAMES = {str: "a string", int: "a whole number", bool: "true or false"}

CURSOR = re.compile(r"(g[0-9]{1,9})" + r"-([0-9]{1,18})" * 4 + r"-([a-z0-9._-]{1,249})", re.ASCII)
Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Before:
    """The last letter of the page before: of which generation that page was, and the letter's order."""

    generation: str
    order: Order


@dataclass(frozen=True)
class Page:
    """`before` is None for the first page."""

    wanted: Wanted
    limit: int
    before: Before | None


@dataclass(frozen=True)
class RedriveAsked:
    """`hopeless`: also records that would be refused again. `counted`: how many a dry run said would go back."""

    wanted: Wanted
    hopeless: bool
    dry_run: bool
    counted: int | None


def parse_page(pairs: Pairs, zone: ZoneInfo) -> Page:
    """The question of GET /v1/dead-letters. Raises Problem."""
    given = named(pairs, (*FILTERS, "limit", "cursor"))
    return Page(_wanted(given, zone), whole_number(given, "limit", LIMIT, LIMIT_AT_MOST), _before(given))


def parse_filters(pairs: Pairs, zone: ZoneInfo) -> Wanted:
    """The question of GET /v1/dead-letters/summary. Raises Problem."""
    return _wanted(named(pairs, FILTERS), zone)


def parse_bytes(pairs: Pairs) -> bool:
    """Whether GET /v1/dead-letters/{id} is asked for the original bytes. Raises Problem."""
    text = one(named(pairs, ("bytes",)), "bytes")
    if text not in (None, "true", "false"):
        raise wrong("bytes", f"expected true or false; saw {shown(text)}")
    return text == "true"


def parse_redrive(raw: bytes, zone: ZoneInfo) -> RedriveAsked:
    """The body of POST /v1/dead-letters/redrive. A dry run unless it says otherwise. Raises Problem."""
    try:
        document = parse(raw)
    except Malformed as error:
        raise bad_query(f"the body: {error}") from None
    for name, value in document.items():
        if name not in BODY:
            raise wrong(shown(name), f"expected one of {', '.join(BODY)}")
        # bool is a kind of int
        if value is not None and type(value) is not BODY[name]:
            raise wrong(name, f"expected {NAMES[BODY[name]]}; saw {json_type(value)}")
    given = {name: [str(document[name])] for name in FILTERS if document.get(name) is not None}
    dry_run, counted = document.get("dry_run"), document.get("counted")
    if counted is not None and not 0 <= counted < 2**63:
        raise wrong("counted", f"expected the number that a dry run told; saw {counted}")
    return RedriveAsked(_wanted(given, zone), bool(document.get("all")), dry_run is None or dry_run, counted)


def cursor(generation: str, last: DeadLetter) -> str:
    """Where the next page begins, of the letters of this generation."""
    return "-".join((generation, *map(str, last.order)))


def _before(given: Parameters) -> Before | None:
    text = one(given, "cursor")
    if text is None:
        return None
    found = CURSOR.fullmatch(text)
    if found is None:
        raise wrong("cursor", f"expected `next` of an answer as it was; saw {shown(text)}")
    generation, *numbers, topic = found.groups()
    time, written, partition, offset = map(int, numbers)
    return Before(generation, (time, written, partition, offset, topic))


def _wanted(given: Parameters, zone: ZoneInfo) -> Wanted:
    texts = {name: text for name in FILTERS if (text := one(given, name)) is not None}
    try:
        return parse_wanted(texts, moment(given, "since", zone), moment(given, "until", zone))
    except BadFilter as error:
        raise wrong(error.name, error.reason) from None

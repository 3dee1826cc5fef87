"""Which dead letters a request means: by its query string, or by the JSON body of a re-drive. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from schemas.contract import CONTRACTS
from serving.api.ingest.document import Malformed, json_type, parse
from serving.api.problems import bad_query
from serving.api.query_string import Parameters, moment, one, shown, whole_number, wrong
from serving.dead_letters import DeadLetter, Wanted
from serving.dead_letters.letter import IMPORT

FILTERS = ("topic", "reason", "since", "until", "partition", "offsets")
LIMIT, LIMIT_AT_MOST = 50, 1_000
PARTITION_AT_MOST = 999_999
BODY: Mapping[str, type] = {
    **dict.fromkeys(("topic", "reason", "since", "until", "offsets"), str),
    "partition": int,
    "all": bool,
    "dry_run": bool,
}
NAMES = {str: "a string", int: "a whole number", bool: "true or false"}

Pairs = Iterable[tuple[str, str]]
Order = tuple[int, int, int, int]


@dataclass(frozen=True)
class Page:
    """`before`: the order of the last letter of the page before this one."""

    wanted: Wanted
    limit: int
    before: Order | None


@dataclass(frozen=True)
class RedriveAsked:
    """`hopeless`: also records that would be refused again."""

    wanted: Wanted
    hopeless: bool
    dry_run: bool


def parse_page(pairs: Pairs, zone: ZoneInfo) -> Page:
    """The question of GET /v1/dead-letters. Raises Problem."""
    given = _given(pairs, (*FILTERS, "limit", "cursor"))
    return Page(_wanted(given, zone), whole_number(given, "limit", LIMIT, LIMIT_AT_MOST), _before(given))


def parse_filters(pairs: Pairs, zone: ZoneInfo) -> Wanted:
    """The question of GET /v1/dead-letters/summary. Raises Problem."""
    return _wanted(_given(pairs, FILTERS), zone)


def parse_bytes(pairs: Pairs) -> bool:
    """Whether GET /v1/dead-letters/{id} is asked for the original bytes. Raises Problem."""
    text = one(_given(pairs, ("bytes",)), "bytes")
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
    dry_run = document.get("dry_run")
    return RedriveAsked(_wanted(given, zone), bool(document.get("all")), dry_run is None or dry_run)


def cursor(last: DeadLetter) -> str:
    """Where the next page begins."""
    return "-".join(map(str, last.order))


def _before(given: Parameters) -> Order | None:
    text = one(given, "cursor")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}(-[0-9]{1,18}){3}", text, re.ASCII):
        raise wrong("cursor", f"expected `next` of an answer as it was; saw {shown(text)}")
    time, written, partition, offset = map(int, text.split("-"))
    return time, written, partition, offset


def _given(pairs: Pairs, allowed: tuple[str, ...]) -> Parameters:
    given: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        if name not in allowed:
            raise wrong(shown(name), f"expected one of {', '.join(allowed)}")
        given[name].append(value)
    return given


def _wanted(given: Parameters, zone: ZoneInfo) -> Wanted:
    topic, partition, offsets = _topic(given), None, _offsets(given)
    if "partition" in given:
        partition = whole_number(given, "partition", 0, PARTITION_AT_MOST, least=0)
    if offsets is not None and (topic is None or partition is None):
        raise wrong("offsets", "expected topic and partition with it: offsets count within a partition")
    since, until = moment(given, "since", zone), moment(given, "until", zone)
    if since is not None and until is not None and since >= until:
        raise wrong("until", "expected a time behind since")
    return Wanted(topic, one(given, "reason"), since, until, partition, offsets)


def _topic(given: Parameters) -> str | None:
    topic = one(given, "topic")
    if topic is None or topic in CONTRACTS or topic == IMPORT[:-1]:
        return topic
    if topic.startswith(IMPORT) and topic != IMPORT:
        return topic
    raise wrong(
        "topic", f"expected one of {', '.join(CONTRACTS)}, import or import:MAPPING; saw {shown(topic)}"
    )


def _offsets(given: Parameters) -> tuple[int, int] | None:
    text = one(given, "offsets")
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", text, re.ASCII)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise wrong(
            "offsets", f"expected an offset, or the first and the last as in 17-99; saw {shown(text)}"
        )
    return int(found[1]), int(found[2] or found[1])

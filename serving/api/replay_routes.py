"""/v1/replays…: the generations, the plan of a replay, and its run, difference, promotion, rollback and removal.

Reading asks for the scope `read`; a difference, and what changes something, for `admin`. Each act is the command
`dataflow replay` of the same name.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from infra.api_keys import Scope as KeyScope
from infra.settings import FASTEST
from serving.api import body, openapi
from serving.api.answers import Json, answer
from serving.api.auth import demand
from serving.api.json_document import Malformed, json_type, parse
from serving.api.problems import Problem, bad_query
from serving.api.query_string import named, shown, whole_number, wrong
from serving.api.query_string import one as one_value
from serving.api.service import service_of

BODY_AT_MOST = 4_096
LONGEST = 200  # characters of a name
THROTTLE = 2_000
RUN = {
    "throttle": int,
    "lake_first": bool,
    "tables": list,
    "metrics": list,
    "days": str,
    "topics": list,
    "from": list,
    "planned": str,
}
ONLY = {
    "table": "tables",
    "metric": "metrics",
    "topic": "topics",
}  # options of the command, by what a body has of them
PROMOTE = {
    "pause_old": bool,
    "max_difference": float,
    "unexpected": bool,
    "undiffed": bool,
    "unverified": bool,
}
ROLLBACK = {"pause_old": bool, "patience": float, "leaving": str, "although_wrong": bool}
NUMBER = (int, Decimal)
KINDS = {int: (int,), bool: (bool,), float: NUMBER, list: (list,), str: (str,)}
NAMES = {
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    list: "an array of names",
    str: "text",
}
GENERATION = re.compile(r"g[1-9][0-9]{0,8}")
PLANNED = re.compile(r"g[1-9][0-9]{0,8}-g[1-9][0-9]{0,8}-[0-9a-f]{16}")
DAYS = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.\.[0-9]{4}-[0-9]{2}-[0-9]{2})?")
BEGINNING = re.compile(
    r"[0-9]{4}-[0-9][0-9T:.+-]{1,40}Z?|[0-9]{1,9}[smhd]|[a-z][a-z0-9_]{0,99}/[0-9]{1,6}:[0-9]{1,18}"
)
router = APIRouter(tags=["replays"])


@router.get("/v1/replays", summary="All generations, and how far each is", responses=openapi.REPLAYS)
async def replays(request: Request) -> Response:
    """`live` is the generation that every other route reads, `before` what a rollback goes back to."""
    if request.query_params:
        raise bad_query("expected no parameters")
    return answer(await service_of(request).replays.status())


@router.get(
    "/v1/replays/plan",
    summary="What a replay would do",
    responses=openapi.REPLAY_PLAN,
    openapi_extra=openapi.REPLAY_PLAN_PARAMETERS,
)
async def plan(request: Request) -> Response:
    """By the code that is in the tree now. Changes nothing."""
    given = named(request.query_params.multi_items(), ("throttle", "lake_first", "days", "from", *ONLY))
    throttle = whole_number(given, "throttle", THROTTLE, FASTEST, least=0)
    first = one_value(given, "lake_first")
    if first not in (None, "true", "false"):
        raise wrong("lake_first", f"expected true or false; saw {shown(first)}")
    arguments = ["plan", "--throttle", str(throttle), *(["--lake-first"] if first == "true" else [])]
    arguments += [part for option in ONLY for part in _named(option, option, given.get(option, ()))]
    arguments += _days(one_value(given, "days")) + _beginnings(given.get("from", ()))
    return answer(await service_of(request).replays.read(*arguments))


@router.post(
    "/v1/replays", summary="Run a replay", status_code=202, responses=openapi.REPLAY_RUN,
    openapi_extra=openapi.REPLAY_RUN_BODY,
)  # fmt: skip
async def run(request: Request) -> Response:
    """Into a new generation beside the live one. It has begun when this answers, and goes on by itself."""
    given = await _body(request, RUN)
    throttle = given.get("throttle", THROTTLE)
    if not 0 <= throttle <= FASTEST:
        raise wrong("throttle", f"expected records a second, 0 (for none) to {FASTEST}")
    arguments = ["run", "--yes", "--detach", "--throttle", str(throttle), *_flags(given, "lake_first")]
    for option, names in ONLY.items():
        arguments += _named(names, option, given.get(names, ()))
    arguments += _days(given.get("days")) + _beginnings(given.get("from", ()))
    if (planned := given.get("planned")) is not None:
        if not PLANNED.fullmatch(planned):
            raise wrong("planned", f"expected what a plan says under this name; saw {shown(planned)}")
        arguments.append(f"--planned={planned}")
    document = await service_of(request).replays.change(*arguments)
    name = document["progress"]["generation"]
    return Json(
        document, status_code=202, headers={"Location": f"/v1/replays/{name}", "Cache-Control": "no-store"}
    )


@router.post(
    "/v1/replays/rollback", summary="Go back to the generation before", responses=openapi.REPLAY_SWITCH,
    openapi_extra=openapi.REPLAY_ROLLBACK_BODY,
)  # fmt: skip
async def rollback(request: Request) -> Response:
    """One that pauses catches up first; this answers when it is live, or after `patience` seconds with a problem."""
    given = await _body(request, ROLLBACK)
    patience = float(given.get("patience", 60.0))
    if not 0 <= patience <= 3_600:
        raise wrong("patience", "expected seconds, 0 to 3600")
    arguments = ["rollback", "--patience", f"{patience:g}", *_flags(given, "pause_old", "although_wrong")]
    if (leaving := given.get("leaving")) is not None:
        if not GENERATION.fullmatch(leaving):
            raise wrong("leaving", f"expected a generation such as g2; saw {shown(leaving)}")
        arguments.append(f"--leaving={leaving}")
    return answer(await service_of(request).replays.change(*arguments, seconds=patience + 60))


@router.get(
    "/v1/replays/{name}",
    summary="One generation",
    responses=openapi.REPLAY,
    openapi_extra=openapi.REPLAY_NAME,
)
async def one(request: Request) -> Response:
    """What it is made by, and how far it is."""
    if request.query_params:
        raise bad_query("expected no parameters")
    name = f"g{_number(request)}"
    document = await service_of(request).replays.status()
    for found in document["generations"]:
        if found["generation"] == name:
            return answer(found)
    raise _unknown(request)


@router.get(
    "/v1/replays/{name}/diff", summary="How a generation differs from the live one", responses=openapi.REPLAY_DIFF,
    openapi_extra=openapi.REPLAY_NAME,
)  # fmt: skip
async def diff(request: Request) -> Response:
    """Row by row, at the same offsets, made now: it takes as long as reading both, so it asks for the scope `admin`.

    Personal data is masked.
    """
    demand(request, KeyScope.ADMIN)
    service, number = service_of(request), _number(request)
    if request.query_params:
        raise bad_query("expected no parameters")
    # Of all of them, not the one that this API was started for.
    live = await service.replays.live() or service.reader.generation
    return answer(await service.replays.compare(live, f"g{number}"))


@router.post(
    "/v1/replays/{name}/promote", summary="Make a generation the live one", responses=openapi.REPLAY_SWITCH,
    openapi_extra=openapi.REPLAY_PROMOTE_BODY,
)  # fmt: skip
async def promote(request: Request) -> Response:
    """Refused with 409 where a reader could be told something wrong; the detail says what, and what to do."""
    given = await _body(request, PROMOTE)
    arguments = ["promote", f"g{_number(request)}"]
    arguments += _flags(given, "pause_old", "unexpected", "undiffed", "unverified")
    if "max_difference" in given:
        if not 0 <= given["max_difference"] <= 1:
            raise wrong("max_difference", "expected a share, 0 to 1")
        arguments += ["--max-difference", str(given["max_difference"])]
    return answer(await service_of(request).replays.change(*arguments))


@router.post(
    "/v1/replays/{name}/{act}", summary="Pause, resume or cancel a generation", responses=openapi.REPLAY_ACT,
    openapi_extra=openapi.REPLAY_ACT_PARAMETERS,
)  # fmt: skip
async def act(request: Request) -> Response:
    """`cancel` removes what it has made. One that pauses or is given up has no API: its own is not the one to ask."""
    what = request.path_params["act"]
    if what not in ("pause", "resume", "cancel"):
        detail = f"expected one of promote, pause, resume, cancel; saw {shown(what)}"
        raise Problem(404, "not-found", detail)
    await _body(request, {})
    service, name = service_of(request), f"g{_number(request)}"
    own = name == service.reader.generation and what != "resume"
    if own and name != (await service.replays.status())["live"]:
        detail = f"expected another generation than {name}, whose own API answers here and would end half-way: ask the "
        raise Problem(409, "replay-refused", detail + "live one's, or `dataflow replay`")
    arguments = [what, name, *(["--yes"] if what == "cancel" else [])]
    return answer(await service.replays.change(*arguments))


def _number(request: Request) -> int:
    """The generation of the path. Raises Problem."""
    digits = request.path_params["name"].removeprefix("g")
    if not (digits.isascii() and digits.isdecimal() and int(digits[:9]) > 0 and len(digits) < 10):
        raise _unknown(request)
    return int(digits)


def _unknown(request: Request) -> Problem:
    detail = f"expected a generation that was started, such as g1; saw {shown(request.path_params['name'])}"
    return Problem(404, "unknown-generation", detail)


def _named(parameter: str, option: str, names: Sequence[Any]) -> list[str]:
    """The command's options for these names. Raises Problem for what can be none."""
    for name in names:
        if not (isinstance(name, str) and name.isascii() and name.isidentifier() and len(name) <= LONGEST):
            raise wrong(parameter, f"expected names such as daily_sales; saw {shown(str(name))}")
    return [f"--{option}={name}" for name in names]


def _days(days: str | None) -> list[str]:
    """The command's option for a day, or the first and the last one. Raises Problem for what can be none."""
    if days is None:
        return []
    try:
        first, _, last = days.partition("..")
        if not DAYS.fullmatch(days) or date.fromisoformat(first) > date.fromisoformat(last or first):
            raise ValueError
    except ValueError:
        raise wrong(
            "days", f"expected a day such as 2026-03-01, or 2026-03-01..2026-03-07; saw {shown(days)}"
        ) from None
    return [f"--day={days}"]


def _beginnings(given: Sequence[Any]) -> list[str]:
    """The command's options for where a trial begins. Raises Problem for what can be neither a time nor an offset."""
    for each in given:
        if not (isinstance(each, str) and BEGINNING.fullmatch(each)):
            raise wrong(
                "from",
                "expected times such as 2026-03-01T08:00Z or 2h, or offsets such as orders/0:1200; saw "
                + shown(str(each)),
            )
    return [f"--from={each}" for each in given]


def _flags(given: Mapping[str, Any], *names: str) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names if given.get(name)]


async def _body(request: Request, names: Mapping[str, type]) -> dict[str, Any]:
    """The body's members that are not null. No body is an empty one. Raises Problem."""
    if request.query_params:
        raise bad_query("expected no parameters: everything stands in the body")
    raw = await body.read(request, BODY_AT_MOST)
    if not raw.strip():
        return {}
    if body.is_ndjson(request):
        raise Problem(415, "unsupported-media-type", f"expected {body.JSON}: one document", body.CLOSE)
    try:
        document = parse(raw)
    except Malformed as error:
        raise bad_query(f"the body: {error}") from None
    for name, value in document.items():
        if name not in names:
            raise wrong(shown(name), f"expected one of {', '.join(names) or 'none'}")
        # bool is a kind of int
        if value is not None and type(value) not in KINDS[names[name]]:
            raise wrong(name, f"expected {NAMES[names[name]]}; saw {json_type(value)}")
    return {name: value for name, value in document.items() if value is not None}

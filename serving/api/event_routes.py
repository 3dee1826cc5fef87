"""POST /v1/events/{topic}: one JSON document, or NDJSON of many, into a source topic."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.contract import CONTRACTS
from serving.api import body, openapi
from serving.api.answers import Json
from serving.api.ingest.ingest import Caller, Outcome
from serving.api.problems import RETRY_SOON, Problem, bad_query
from serving.api.service import service_of

KEY_AT_MOST = 255
router = APIRouter(tags=["events"])


async def take(request: Request, topic: str) -> Response:
    """Answered when the broker has it."""
    service = service_of(request)
    if request.query_params:
        raise bad_query("expected no parameters: everything stands in the body")
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= KEY_AT_MOST:
        raise bad_query(f"Idempotency-Key: expected 1 to {KEY_AT_MOST} characters")
    many = body.is_ndjson(request)
    content = await body.read(request, service.settings.api_max_body_bytes)
    lines = body.lines(content) if many else [body.Line(1, content)]
    caller = Caller(request.scope.get("api_key", ""), key)
    outcomes = await service.ingest.take(topic, lines, caller)
    found = _many(topic, outcomes) if many else _one(outcomes[0], service.settings.max_event_bytes)
    return Json({**found, "as_of": await service.as_of()}, 202)


def _one(outcome: Outcome, most: int) -> dict[str, Any]:
    """The answer to an accepted document. Raises Problem for any other."""
    if outcome.status == "accepted":
        return {"status": "accepted", **outcome.body}
    if outcome.status == "failed":
        raise _unavailable(outcome.body["reason"], **outcome.body)
    errors = outcome.body["errors"]
    if errors[0]["rule"] == "too_large":
        raise Problem(413, "too-large", f"expected an event of at most {most:,} bytes", errors=errors)
    raise Problem(422, "refused", "the event does not fit its contract, see `errors`", errors=errors)


def _many(topic: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The answer to lines of which some are accepted. Raises Problem if none is."""
    counts = Counter(outcome.status for outcome in outcomes)
    found: dict[str, Any] = {status: counts[status] for status in ("accepted", "refused", "failed")}
    found["results"] = [outcome.as_json() for outcome in outcomes]
    if counts["accepted"]:
        return {"topic": topic, **found}
    if counts["failed"]:
        reason = next(o.body["reason"] for o in outcomes if o.status == "failed")
        raise _unavailable(reason, **found)
    if not outcomes:
        raise Problem(422, "refused", "expected at least one line with an event; saw none", **found)
    raise Problem(422, "refused", "no line was accepted, see `results`", **found)


def _unavailable(reason: str, /, **more: Any) -> Problem:
    # The answer of a broker may be lost when the record is not.
    again = "sent again with the same `event_id` (it stands in this answer) or Idempotency-Key it counts once"
    return Problem(
        503, "unavailable", f"nobody knows whether the broker has it: {reason}; {again}", RETRY_SOON, **more
    )


def route_of(topic: str) -> Callable[[Request], Awaitable[Response]]:
    async def events(request: Request) -> Response:
        return await take(request, topic)

    return events


for _topic, _contract in CONTRACTS.items():
    router.add_api_route(
        f"/v1/events/{_topic}",
        route_of(_topic),
        methods=["POST"],
        status_code=202,
        name=f"{_topic}_events",
        summary=f"Events for {_topic}",
        description=f"{_contract.doc} One document (JSON) or one a line (NDJSON); answered when the broker has them.",
        responses=openapi.EVENTS,
        openapi_extra=openapi.event_body(_topic),
    )


@router.post("/v1/events/{topic}", include_in_schema=False)
async def unknown(topic: str) -> Response:
    """What is none of the topics above."""
    known = ", ".join(CONTRACTS)
    raise Problem(404, "unknown-topic", f"expected one of {known}; saw {topic[:60]!r}", known=list(CONTRACTS))

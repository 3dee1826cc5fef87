"""GET /v1/events/newest: the records that were counted last, each with what came of it; without personal data."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.contract import CONTRACTS
from serving.api import openapi
from serving.api.answers import answer
from serving.api.documents import event_documents
from serving.api.query_string import named, one, shown, whole_number, wrong
from serving.api.service import service_of
from serving.fold.newest import KEPT

LIMIT = 20
router = APIRouter(tags=["events"])


@router.get(
    "/v1/events/newest",
    summary="The records counted last, newest first",
    responses=openapi.NEWEST,
    openapi_extra=openapi.NEWEST_PARAMETERS,
)
async def newest(request: Request) -> Response:
    """In the order in which they were counted. Each is below the offsets of `as_of`, and none between them is missing.

    A refused record has its reasons, and is at /v1/dead-letters/{topic}/{partition}/{offset}.
    """
    given = named(request.query_params.multi_items(), ("topic", "limit"))
    topic, limit = one(given, "topic"), whole_number(given, "limit", LIMIT, KEPT)
    if topic is not None and topic not in CONTRACTS:
        raise wrong("topic", f"expected one of {', '.join(CONTRACTS)}; saw {shown(topic)}")
    as_of, found = await service_of(request).read_newest([topic] if topic else CONTRACTS, limit)
    return answer({"events": event_documents(found), "as_of": as_of.as_json()})

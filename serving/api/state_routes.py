"""GET /v1/status, freshness, lag, exactness, key and live: how the live state fares, asked or pushed."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from infra.api_keys import Scope
from schemas.errors import DataflowError, Unavailable
from serving.api import openapi
from serving.api.answers import answer
from serving.api.auth import may
from serving.api.live.frames import parse_event_id
from serving.api.live.response import LiveStream
from serving.api.service import Service, Starting, service_of
from serving.read import Rebuilding
from serving.verified import brief, document

router = APIRouter(tags=["state"])


@router.get("/v1/status", summary="State of everything", responses=openapi.STATUS)
async def status(request: Request) -> Response:
    """Always 200: `state` tells whether the live numbers can be read, `detail` why not."""
    service = service_of(request)
    name = service.kafka.generation.name if service.kafka.generation else None
    parts = ("freshness", "lag", "exactness", "verified", "as_of")
    found: dict[str, Any] = dict.fromkeys(parts)
    try:
        _, health = await service.read_health()
    except (Rebuilding, Unavailable) as error:
        state, detail = state_of(error, service), str(error)
    else:
        state, detail = "live", None
        found["freshness"], found["lag"] = health.freshness(), health.lag()
        found["exactness"], found["as_of"] = health.exactness(), health.as_of.as_json(health.now)
        name = health.as_of.generation
        found["verified"] = await verified_or_none(service, name, health.now)
    as_of = found.pop("as_of")
    body = {
        "env": service.settings.dataflow_env,
        "generation": name,
        "state": state,
        "detail": detail,
        **found,
        "live": {"clients": service.hub.clients, "snapshots": service.hub.snapshots},
        "as_of": as_of,
    }
    return answer(body)


async def verified_or_none(service: Service, generation: str, now: float) -> dict[str, Any] | None:
    """What the verifier last found, without its offsets; None if that cannot be read."""
    try:
        found = await service.verified(generation)
    except Unavailable:
        return None
    return found and brief(found, now)


def state_of(error: DataflowError, service: Service) -> str:
    """The state's name, of what a read raised."""
    if isinstance(error, Rebuilding):
        return "rebuilding"
    # Kafka answers, and there is nothing yet: somebody is still at it.
    return "starting" if isinstance(error, Starting) and service.kafka.error is None else "unavailable"


@router.get("/v1/freshness", summary="Freshness", responses=openapi.FRESHNESS)
async def freshness(request: Request) -> Response:
    """How long ago the broker took the newest counted record while others wait, else 0."""
    _, health = await service_of(request).read_health()
    return answer({**health.freshness(), "as_of": health.as_of.as_json(health.now)})


@router.get("/v1/lag", summary="Lag of each source partition", responses=openapi.LAG)
async def lag(request: Request) -> Response:
    """Log ends are looked at every second; `stale` where the broker has not answered for a while."""
    _, health = await service_of(request).read_health()
    return answer({**health.lag_in_full(), "as_of": health.as_of.as_json(health.now)})


@router.get("/v1/exactness", summary="The account of each source partition", responses=openapi.EXACTNESS)
async def exactness(request: Request) -> Response:
    """Whether every record from the base to the next offset has exactly one verdict, and which partitions are held.

    `verified` is what a second, independent computation found last: of the lake's tables and of the live numbers.
    """
    service = service_of(request)
    _, health = await service.read_health()
    verified = document(await service.verified(health.as_of.generation), health.now)
    body = {**health.exactness_in_full(), "verified": verified, "as_of": health.as_of.as_json(health.now)}
    return answer(body)


@router.get("/v1/key", summary="What the key may do", responses=openapi.KEY)
async def key(request: Request) -> Response:
    """The name of the key that comes with the request, and its scopes; without configured keys everybody may all."""
    return answer(
        {"name": request.scope.get("api_key"), "scopes": [each for each in Scope if may(request, each)]}
    )


@router.get("/v1/live", summary="Push", responses=openapi.LIVE, openapi_extra=openapi.LIVE_PARAMETERS)
async def live(request: Request) -> Response:
    """Server-sent events: a snapshot of the live numbers each time that they change."""
    hub = service_of(request).hub
    hub.check_room()
    return LiveStream(hub, parse_event_id(request.headers.get("last-event-id")))

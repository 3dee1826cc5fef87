"""/healthz, /readyz and /metrics: for supervisors, load balancers and Prometheus."""

import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.errors import DataflowError
from serving.api import openapi
from serving.api.answers import answer
from serving.api.problems import RETRY_SOON, Problem
from serving.api.service import service_of
from serving.api.telemetry import CONTENT_TYPE, push_families, state_families, verified_families
from serving.read import Rebuilding

router = APIRouter(tags=["probes"])
OK = {200: openapi.answers(openapi.objects({"status": openapi.STRING}), "Yes.")}


@router.get("/healthz", summary="Is the process alive?", responses=OK)
async def healthz(request: Request) -> Response:
    """200 as long as the process can answer, whatever it depends on."""
    return answer({"status": "alive"})


@router.get("/readyz", summary="Can it serve?", responses={**OK, 503: openapi.problem("What is missing.")})
async def readyz(request: Request) -> Response:
    """200 if the live state can be read and the broker answers, so that events can be taken."""
    service = service_of(request)
    missing = []
    try:
        await service.read()
    except DataflowError as error:
        missing.append(str(error))
    if not service.kafka.is_fresh(time.monotonic()):
        missing.append(f"the broker does not answer: {service.kafka.error or 'nothing heard of it lately'}")
    if missing:
        raise Problem(503, "unavailable", "; ".join(missing), RETRY_SOON, missing=missing)
    return answer({"status": "ready"})


@router.get("/metrics", summary="For Prometheus", response_class=Response, responses=openapi.EXPOSITION)
async def metrics(request: Request) -> Response:
    """Prometheus' text format: the live state at this moment, and the process's own counters."""
    service = service_of(request)
    health, rebuilding, verified = None, False, None
    try:
        _, health = await service.read_health()
        verified = await service.verified(health.as_of.generation)
    except DataflowError as error:
        rebuilding = isinstance(error, Rebuilding)
    families = push_families(service.hub.clients, service.hub.snapshots)
    families += state_families(health, rebuilding)
    families += verified_families(verified, time.time())
    content = service.telemetry.expose(families)
    return Response(content, headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE)

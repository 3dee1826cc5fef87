"""GET /v1/metrics…: the catalogue, and a pair of routes per declared metric, so that OpenAPI says what each answers.

Reads Redis through `serving.read`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.metric import AnyMetric
from schemas.metrics import METRICS
from serving.api import openapi
from serving.api.answers import answer, not_modified
from serving.api.parameters import Asked, parse_rows, parse_top
from serving.api.problems import Problem
from serving.api.service import Service, service_of
from serving.read.catalogue import describe
from serving.read.query import dimensions_of, iso

Handler = Callable[[Request], Awaitable[Response]]
router = APIRouter(tags=["metrics"])


@router.get("/v1/metrics", summary="The catalogue of metrics", responses=openapi.CATALOGUE)
async def catalogue(request: Request) -> Response:
    """What is measured, and by what it can be split, filtered and ordered."""
    return answer({"metrics": [describe(metric) for metric in METRICS.values()]})


async def respond(request: Request, asked: Asked, **more: Any) -> Response:
    """The answer to a question, or 304. Raises what `Reader.read` raises."""
    service = service_of(request)
    newest = 0
    if asked.needs_newest or "if-none-match" in request.headers:
        # "Now" is the newest event, or when the broker took the newest record if that is earlier; never the clock.
        as_of = (await service.read()).as_of
        if (unchanged := not_modified(request.headers, as_of)) is not None:
            return unchanged
        newest = as_of.now
    query = asked.query(newest, service.zone)
    found = await service.read([query] if query else [])
    ranged = query is not None and query.grain != "all"
    body = {
        "metric": asked.metric.name,
        "grain": asked.grain,
        **currency_and_zone(service),
        "from": iso(query.start) if ranged else None,
        "to": iso(query.end) if ranged else None,
        **more,
        "rows": found.rows[0] if query else [],
        "as_of": found.as_of.as_json(),
    }
    return answer(body, found.as_of)


def currency_and_zone(service: Service) -> dict[str, str]:
    return {"currency": service.settings.shop_currency, "time_zone": service.settings.shop_timezone}


def rows_of(metric: AnyMetric) -> Handler:
    async def rows(request: Request) -> Response:
        zone = service_of(request).zone
        return await respond(request, parse_rows(metric, request.query_params.multi_items(), zone))

    return rows


def top_of(metric: AnyMetric) -> Handler:
    async def top(request: Request) -> Response:
        zone = service_of(request).zone
        asked = parse_top(metric, request.query_params.multi_items(), zone)
        return await respond(request, asked, by=list(asked.by), order=asked.order)

    return top


for _metric in METRICS.values():
    router.add_api_route(
        f"/v1/metrics/{_metric.name}",
        rows_of(_metric),
        methods=["GET"],
        name=f"{_metric.name}_rows",
        summary=f"Metric {_metric.name}",
        description=_metric.doc,
        responses=openapi.rows_responses(_metric),
        openapi_extra=openapi.rows_parameters(_metric),
    )
    if dimensions_of(_metric):
        router.add_api_route(
            f"/v1/metrics/{_metric.name}/top",
            top_of(_metric),
            methods=["GET"],
            name=f"{_metric.name}_top",
            summary=f"Largest of {_metric.name}",
            description=f"{_metric.doc} The rows with the largest figure first.",
            responses=openapi.rows_responses(_metric),
            openapi_extra=openapi.top_parameters(_metric),
        )


@router.get("/v1/metrics/{name}", include_in_schema=False)
@router.get("/v1/metrics/{name}/top", include_in_schema=False)
async def unknown(request: Request, name: str) -> Response:
    """What is none of the metrics above."""
    if name in METRICS:
        raise Problem(404, "not-found", f"metric {name} has no dimension to rank by, so it has no top")
    known = ", ".join(METRICS)
    raise Problem(404, "unknown-metric", f"expected one of {known}; saw {name[:60]!r}", known=list(METRICS))
